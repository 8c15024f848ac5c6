import { expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, maxError } from "../testing.ts";
import { normaliseHeads } from "./head-norm.ts";

const gpu = await sharedGpu();

test.each([
	[1, 8, 8, false],
	[3, 12, 72, true],
	[4, 16, 64, true],
])(
	"normaliseHeads, %i heads of %i in rows of %i, scaled %s: nothing else touched",
	async (heads, headDim, stride, scaled) => {
		using bench = new Bench(gpu);
		const [tokens, spare] = [70, 2];
		const data = bench.random(tokens + spare, stride).data;
		data.fill(0, 0, headDim); // A zero head stays zero.
		const x = bench.put(data.slice(), [tokens + spare, stride]);
		// The last one is beyond ln 100 and is held there.
		const scaleMul = bench.put(Float32Array.from({ length: heads }, (_, h) => (h === heads - 1 ? 6 : h - 1)));
		const [out] = await bench.run(
			(pass) =>
				normaliseHeads(pass, {
					x: x.tensor,
					stride,
					tokens,
					heads,
					headDim,
					scaleMul: scaled ? scaleMul.tensor : undefined,
					label: "norm",
				}),
			x.tensor,
		);
		const expected = Float64Array.from(data);
		for (let token = 0; token < tokens; token++) {
			for (let head = 0; head < heads; head++) {
				const at = token * stride + head * headDim;
				const norm = Math.max(Math.hypot(...data.subarray(at, at + headDim)), 1e-12);
				for (let c = 0; c < headDim; c++)
					expected[at + c] *= (scaled ? Math.exp(Math.min(scaleMul.data[head], Math.log(100))) : 1) / norm;
			}
		}
		expect(maxError(out, expected)).toBeLessThan(2e-4);
	},
);
