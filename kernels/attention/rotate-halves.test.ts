import { expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, maxError } from "../testing.ts";
import { ropeTable, rotateHalves } from "./rotate-halves.ts";

const gpu = await sharedGpu();

test.each([
	[1, 1, 8],
	[70, 3, 16],
	[9, 2, 128],
])("%i tokens, %i heads of %i, by the first angles of a longer table", async (tokens, heads, headDim) => {
	using bench = new Bench(gpu);
	const [half, positions] = [headDim / 2, tokens + 5];
	const x = bench.random(tokens, heads * headDim);
	const angles = bench.put(ropeTable(positions, headDim, 1e6), [2, positions, half]);
	const [out] = await bench.run(
		(pass) => rotateHalves(pass, { x: x.tensor, tokens, heads, headDim, angles: angles.tensor, label: "rotate" }),
		x.tensor,
	);
	const expected = Array.from(x.data, (v, i) => {
		const [t, channel] = [Math.floor(i / (heads * headDim)), i % headDim];
		const m = channel % half;
		const angle = t * 1e6 ** ((-2 * m) / headDim);
		const other = x.data[channel < half ? i + half : i - half];
		return v * Math.cos(angle) + (channel < half ? -1 : 1) * other * Math.sin(angle);
	});
	expect(maxError(out, expected)).toBeLessThan(1e-5);
});
