import { expect, it } from "vitest";
import { paperText } from "./markdown.ts";
import { paperRows } from "./paper.ts";
import { BIG_MODELS } from "./published.ts";

const models = BIG_MODELS.map((big) => ({ big, rows: paperRows(big) }));
const rowsOf = (title: string) => models.find(({ big }) => big.title === title)?.rows ?? [];

it("counts exact as it can be counted by hand", () => {
	// 13 scales of 1, 4, 16, 36, 64, 144, 256, 400, 576, 1024, 1600, 2304 and 4096 tokens, two guidance rows, f16 keys of
	// all scales but the last, and of 24 tokens of text.
	const [exact] = rowsOf("Infinity-2B");
	expect(exact.tokenRows).toBe(2 * 10521);
	expect(exact.keyBytes).toBe(2 * 32 * (10521 - 4096 + 24) * 2 * 2048 * 2);
	// Twice the parameters of the blocks' matrices (16 C^2 without cross attention's keys and values) a token and row,
	// then attention over all earlier tokens.
	const matrices = 2 * 2 * 10521 * 32 * (6 + 8) * 2048 ** 2;
	expect(exact.transformerFlops).toBeGreaterThan(matrices);
	expect(exact.transformerFlops).toBeLessThan(1.6 * matrices);
});

it("has every policy cost at most exact's, and a policy's rows fall with what they keep", () => {
	for (const {
		rows: [exact, ...others],
	} of models)
		for (const row of others) expect(row.transformerFlops).toBeLessThanOrEqual(exact.transformerFlops);
	const auto = rowsOf("STAR")
		.filter(({ name }) => name.startsWith("stagevar-auto"))
		.map(({ transformerFlops }) => transformerFlops);
	expect(auto).toEqual(auto.toSorted((a, b) => b - a));
	expect(new Set(auto).size).toBe(3);
});

it("no bound of a released setting is under what its authors measured", () => {
	for (const { rows } of models) {
		for (const { name, setting, wholeFlops } of rows) {
			if (setting.claim && ["stagevar", "stagevar-released", "fastvar"].includes(name))
				expect(rows[0].wholeFlops / wholeFlops).toBeGreaterThan(setting.claim.times);
		}
	}
	expect(
		rowsOf("Infinity-2B")
			.filter(({ setting }) => setting.claim)
			.map(({ setting }) => setting.policy),
	).toEqual(expect.arrayContaining(["stagevar-released", "fastvar", "sparsevar", "skipvar"]));
});

it("writes a table a model, each claim once", () => {
	const text = paperText(models);
	for (const { big } of models) expect(text).toContain(`## ${big.title}\n`);
	expect(text.match(/\| 1\.81x \|$/gm)).toHaveLength(1);
	expect(text.match(/\| 3\.40x \|$/gm)).toHaveLength(1);
});
