import { expect, test } from "vitest";
import { kindOf, Reduction } from "./index.ts";

const projection = Reduction.parse({
	blocks: [2, 5],
	each: "block",
	count: 4,
	take: { project: "gaussian" },
	rope: "first",
	write: "norm-sampled",
	rest: { from: 1, resize: "area", of: "output" },
});
const gathering = Reduction.parse({
	blocks: [0, 6],
	each: "span",
	count: 4,
	take: { gather: { picture: 1 } },
	rope: "kept",
	write: "kept",
	rest: "skip",
});

test("mixtures cost a product a block, and room for their matrices; choosing costs neither", () => {
	expect(kindOf(projection).flops(projection, 16, 8)).toBe(3 * 2 * 16 * 4 * 8);
	expect(kindOf(projection).flops({ ...projection, each: "span" } as Reduction, 16, 8)).toBe(2 * 16 * 4 * 8);
	expect(kindOf(projection).need(projection, 32)).toEqual({ matrix: 32 * 4, gathers: false });
	expect(kindOf(gathering).flops(gathering, 16, 8)).toBe(0);
	expect(kindOf(gathering).need(gathering, 32)).toEqual({ matrix: 0, gathers: true });
});

test("a gathering says by which picture, and is wrong where that is not there yet or where blocks differ", () => {
	expect([projection, gathering].map((reduction) => kindOf(reduction).looksAt(reduction))).toEqual([undefined, 1]);
	expect(kindOf(projection).problems(projection, { scale: 1, blocks: 6 })).toEqual([]);
	expect(kindOf(gathering).problems(gathering, { scale: 2, blocks: 6 })).toEqual([]);
	expect(kindOf(gathering).problems(gathering, { scale: 1, blocks: 7 })).toEqual([
		"it gathers by the picture after scale 1; an earlier one is needed",
		'rest "skip" leaves tokens out of the whole scale; it is allowed for one span over blocks 0 to 7',
	]);
});
