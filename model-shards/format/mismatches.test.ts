import { expect, it } from "vitest";
import type { TensorEntry } from "./manifest.ts";
import { storedMismatches } from "./mismatches.ts";
import { matrix, plain, table } from "./tensor-shapes.ts";

const entry = (name: string, dtype: TensorEntry["dtype"], shape: number[], scales?: string): TensorEntry => ({
	name,
	dtype,
	shape,
	shard: 0,
	offset: 0,
	bytes: 1,
	...(scales !== undefined && { quantization: { group: 32, scales } }),
});
const wanted = [matrix("a", 64, 8), matrix("b", 64, 8), table("words", 8, 64), { ...plain("v", 1, 4), also: [4, 1] }];
const scales = (name: string) => entry(name, "F16", [8, 2]);
const sound = [
	entry("a.weight", "I8", [8, 64], "a.scales"),
	scales("a.scales"),
	entry("b.weight", "F16", [8, 64]),
	entry("words.weight", "F32", [8, 64]),
	entry("v", "F32", [4, 1]),
];
const changed = (name: string, to: Partial<TensorEntry>) =>
	sound.map((tensor) => (tensor.name === name ? { ...tensor, ...to } : tensor));

it("tensors as an import writes them fit, in either shape and with scales beside their matrix", () => {
	expect(storedMismatches(sound, wanted)).toEqual([]);
});

it.each<[string, readonly TensorEntry[], string]>([
	["is missing", sound.slice(0, -1), "v is missing"],
	["has another shape", changed("b.weight", { shape: [64, 8] }), "b.weight has shape [64,8]"],
	["is of integers", changed("b.weight", { dtype: "I32" }), "b.weight has type I32; F32, F16, I8, I4 can be read"],
	[
		"is a table of whole numbers",
		[...changed("words.weight", entry("words.weight", "I8", [8, 64], "w.scales")), scales("w.scales")],
		"words.weight has type I8; F32, F16 can be read",
	],
	["is of nobody", [...sound, entry("c", "F32", [1])], "c is not part of a model of this configuration"],
	[
		"has another one's scales",
		changed("b.weight", entry("b.weight", "I4", [8, 64], "a.scales")),
		"a.scales cannot be the scales of b.weight",
	],
	[
		"has a wanted one for scales",
		[...changed("a.weight", entry("a.weight", "I8", [8, 64], "v")).filter(({ name }) => name !== "a.scales")],
		"v cannot be the scales of a.weight",
	],
])("what %s does not", (_, stored, problem) => {
	expect(storedMismatches(stored, wanted)).toEqual([expect.stringContaining(problem)]);
});
