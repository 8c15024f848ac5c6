import { table } from "../eval/markdown.ts";
import type { PaperRow } from "./paper.ts";
import type { BigModel } from "./published.ts";

/** One table a model, and what the rows stand for. */
export function paperText(models: readonly { big: BigModel; rows: readonly PaperRow[] }[]): string {
	return models
		.map(({ big: { title, model, textTokens }, rows }) => {
			const [exact] = rows;
			const { schedules, defaultSchedule } = model.manifest;
			const schedule = schedules[defaultSchedule];
			const { depth, width } = model.facts.shape;
			const cells = rows.map((row, i) => [
				row.name,
				tera(row.transformerFlops),
				times(exact.transformerFlops / row.transformerFlops),
				String(Math.round(row.tokenRows)),
				times(exact.tokenRows / row.tokenRows),
				tera(row.wholeFlops),
				times(exact.wholeFlops / row.wholeFlops),
				gib(row.keyBytes),
				gib(row.memoryBytes),
				row.setting.claim && rows[i - 1]?.setting !== row.setting ? times(row.setting.claim.times) : "",
			]);
			const notes = [...new Set(rows.map(({ setting }) => setting))].flatMap(({ policy, about, claim }) =>
				about || claim
					? [`- ${policy}: ${[about, claim && `measured by its authors: ${claim.source}`].filter(Boolean).join("; ")}`]
					: [],
			);
			return [
				`## ${title}`,
				"",
				`${schedule.grids.length} scales to ${schedule.grids.at(-1)?.join(" x ")} tokens, ` +
					`${schedule.image.width} x ${schedule.image.height} pixels; ${depth} blocks of width ${width}; ` +
					`${textTokens} tokens of text.`,
				"",
				...table(
					[
						"policy",
						"transformer TFLOP",
						"fewer",
						"tokens × rows",
						"fewer",
						"whole TFLOP",
						"fewer",
						"keys GiB",
						"with weights GiB",
						"authors' speedup",
					],
					cells,
				),
				"",
				...notes,
			].join("\n");
		})
		.join("\n\n");
}

const tera = (flops: number) => (flops / 1e12).toPrecision(3);
const times = (ratio: number) => `${ratio.toFixed(2)}x`;
const gib = (bytes: number) => (bytes / 2 ** 30).toPrecision(3);
