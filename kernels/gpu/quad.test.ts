import { expect, test } from "vitest";
import { addProducts, sumProducts } from "./quad.ts";

const vectors = Array.from({ length: 300 }, (_, n) => `v${n}`);
const sums = [{ name: "s", from: () => "0.0", by: (n: number, e: string) => `f${n}.${e}` }];

test.each([
	["added", addProducts(sums, vectors)],
	["summed", sumProducts(sums, vectors)],
])("products %s follow one another, in order, and nest in none: parsers give up on some hundred levels", (_, wgsl) => {
	const x = [...wgsl.matchAll(/fma\(([^(),]+), ([^(),]+), ([^(),]+)\);/g)].filter(([, by]) => by.endsWith(".x"));
	expect(x.map(([, by, vector]) => [by, vector])).toEqual(vectors.map((vector, n) => [`f${n}.x`, `${vector}.x`]));
	expect(x.map(([, , , before]) => before)).toEqual(["0.0", ...vectors.slice(1).map((_, n) => `sx${n}`)]);
});
