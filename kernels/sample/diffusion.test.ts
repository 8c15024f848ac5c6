import { expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, maxError, words } from "../testing.ts";
import { denoise, drawNormals } from "./diffusion.ts";
import { PURPOSE, philox } from "./random.ts";

const gpu = await sharedGpu();

const draw = async (
	bench: Bench,
	tokens: number,
	channels: number,
	{ seed = 9, stream = 0, step = 3, to = 0 } = {},
) => {
	const y = bench.empty(to + tokens, channels);
	return (
		await bench.run((pass) => drawNormals(pass, { y, to, tokens, channels, seed, stream, step, label: "normals" }), y)
	)[0];
};

test("drawNormals: Box and Muller over the host's own Philox, by name and not by place", async () => {
	using bench = new Bench(gpu);
	const [tokens, channels] = [9, 8];
	const drawn = await draw(bench, tokens, channels);
	const expected = Array.from({ length: (tokens * channels) / 4 }, (_, i) => {
		const u = philox([Math.floor(i / 2), i % 2, 3, PURPOSE.noise], [9, 0]).map(
			(bits) => ((bits >>> 9) + 0.5) * 2 ** -23,
		);
		return [0, 2].flatMap((at) =>
			[Math.cos, Math.sin].map((of) => Math.sqrt(-2 * Math.log(u[at])) * of(2 * Math.PI * u[at + 1])),
		);
	}).flat();
	// WGSL promises sines to 2^-11, of a radius of 6 at most.
	expect(maxError(drawn, expected)).toBeLessThan(3e-3);
	expect(words((await draw(bench, 4, channels, { to: 3 })).slice(3 * channels))).toEqual(
		words(drawn.slice(0, 4 * channels)),
	);
	for (const other of [{ seed: 10 }, { stream: 1 }, { step: 4 }])
		expect(words(await draw(bench, tokens, channels, other))).not.toEqual(words(drawn));
});

test("drawNormals: mean, deviation and tails of N(0, 1)", async () => {
	using bench = new Bench(gpu);
	const drawn = await draw(bench, 8192, 16);
	const moment = (power: number) => drawn.reduce((sum, v) => sum + v ** power, 0) / drawn.length;
	expect(Math.abs(moment(1))).toBeLessThan(0.012);
	expect(Math.abs(moment(2) - 1)).toBeLessThan(0.016);
	expect(Math.abs(moment(4) - 3)).toBeLessThan(0.11);
	expect(drawn.filter((v) => Math.abs(v) > 2).length / drawn.length).toBeCloseTo(0.0455, 2);
});

test.each([
	[1, 0],
	[2, 0],
	[2, 1],
])("denoise, %i rows, noise %i", async (rows, noise) => {
	using bench = new Bench(gpu);
	const [tokens, channels, guidance] = [37, 8, 2.5];
	const step = {
		ofX: 1.7,
		ofNoise: 1.3,
		meanOfStart: 0.4,
		meanOfX: 0.5,
		leastLog: -3.5,
		mostLog: -0.7,
		noise,
		times: noise ? 1 : 0.6,
	};
	const size = rows * tokens * channels;
	const [out, x] = [bench.random(rows * tokens, 2 * channels), bench.random(rows * tokens, channels)];
	// What is not drawn must not be looked at.
	const drawn = noise ? bench.random(rows * tokens, channels) : bench.put(new Float32Array(size).fill(NaN));
	const input = bench.empty(rows * tokens, channels);
	const [guided, after, next] = await bench.run(
		(pass) =>
			denoise(pass, {
				out: out.tensor,
				x: x.tensor,
				noise: drawn.tensor,
				input,
				tokens,
				rows,
				channels,
				guidance,
				step,
				label: "denoise",
			}),
		out.tensor,
		x.tensor,
		input,
	);
	const predicted = Float64Array.from(out.data, (value, i) => {
		if (i % (2 * channels) >= channels || rows === 1) return value;
		const own = i % (2 * tokens * channels);
		return (1 + guidance) * out.data[own] - guidance * out.data[own + 2 * tokens * channels];
	});
	expect(maxError(guided, predicted)).toBeLessThan(2e-6);
	const expected = Float64Array.from(x.data, (before, i) => {
		const at = Math.floor(i / channels) * 2 * channels + (i % channels);
		const start = Math.min(1, Math.max(-1, step.ofX * before - step.ofNoise * predicted[at]));
		const share = (predicted[at + channels] + 1) / 2;
		const deviation = Math.exp(0.5 * (share * step.mostLog + (1 - share) * step.leastLog));
		return step.times * (step.meanOfStart * start + step.meanOfX * before + (noise ? deviation * drawn.data[i] : 0));
	});
	expect(maxError(after, expected)).toBeLessThan(2e-6);
	expect(words(next)).toEqual(words(Float32Array.from({ length: size }, (_, i) => after[i % (tokens * channels)])));
});
