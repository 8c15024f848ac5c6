/** The decoder by tiles against the decoder of whole images, on devices that bind less. */
import { expect, test } from "vitest";
import { Gpu } from "../../../kernels/gpu/gpu.ts";
import { sharedGpu } from "../../../kernels/gpu/native/testing.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import { maxError, randomFloats, words } from "../../../kernels/testing.ts";
import type { TensorShape } from "../../../model-shards/format/tensor-shapes.ts";
import { STORES } from "../../engine/paper/budget.ts";
import { tokenizerConfig } from "../infinity/published.ts";
import { publishedVar } from "../var/published.ts";
import { ConvDecoder, type Piece } from "./conv-decoder.ts";
import { type DecoderStore, decoderSize, STORED_BYTES, storedFor } from "./decoder-size.ts";
import {
	attentiveDecoder,
	type DecoderSource,
	decoderFloats,
	decoderOperations,
	decoderTensors,
	type VaeConfig,
	wrappedDecoder,
} from "./vae.ts";
import { Weights } from "./weights.ts";

const gpu = await sharedGpu();

const CONFIG: VaeConfig = { baseChannels: 16, multipliers: [1, 2, 2], residualBlocks: 1, normGroups: 8, normEps: 1e-6 };
const LATENT = { numbers: 6, channels: 8 };

const random = (tensors: readonly TensorShape[]) =>
	tensors.map(({ name, shape }, i) => {
		const count = shape.reduce((product, size) => product * size, 1);
		const near = name.includes("norm") && name.endsWith("weight") ? 1 : 0;
		const fan = shape.length > 1 ? count / shape[0] : 16;
		return { name, shape, data: randomFloats(count, i + 1).map((value) => near + value / Math.sqrt(fan)) };
	});

const load = (on: Gpu, source: DecoderSource) => {
	const wanted = decoderTensors(source, LATENT.numbers);
	return Weights.load(on, {
		manifest: { tensors: [] },
		wanted,
		async *tensors() {
			for (const { name, shape, data } of random(wanted))
				yield { name, dtype: "F32", shape, bytes: new Uint8Array(data.buffer) };
		},
	});
};

/** A picture, its floats and words in the order of its rows, and what was tapped of it. */
async function decode(
	on: Gpu,
	source: DecoderSource,
	[height, width]: readonly [number, number],
	store?: DecoderStore,
	scale = 1,
) {
	const before = on.bytes;
	const weights = await load(on, source);
	using scope = new Scope(on);
	const latents = scope.upload(
		"latents",
		[height * width, LATENT.channels],
		randomFloats(height * width * LATENT.channels, 99).map((value) => scale * value),
	);
	const empty = on.bytes;
	const decoder = new ConvDecoder(on, weights, source, LATENT, [[height, width]], store);
	// A tensor takes 16 bytes at least.
	expect(on.bytes - empty - decoder.size.bytes).toBeLessThanOrEqual(16);
	const tapped: string[] = [];
	const { pass, pictures } = decoder.record(
		on.pass("decode"),
		latents,
		[{ pixel: 0, height, width }],
		(_, name, image, pieces, channels) => {
			tapped.push(
				`${name} ${image} ${channels} ${pieces.reduce((sum, { rect }) => sum + rect.height * rect.width, 0)}`,
			);
		},
	);
	const [{ output, rgba }] = pictures;
	const all = [...output, ...rgba];
	const data = await pass.submit(
		all.map(({ rect, x, from, stride }) => ({
			...x,
			offset: 4 * from,
			bytes: 4 * rect.height * rect.width * stride,
		})),
	);
	const side = decoder.patch;
	const joined = (pieces: readonly Piece[], from: number) => {
		const [{ stride }] = pieces;
		const whole = new Float32Array(height * width * side ** 2 * stride);
		pieces.forEach(({ rect }, i) => {
			const part = new Float32Array(data[from + i]);
			for (let row = 0; row < rect.height; row++)
				whole.set(
					part.subarray(row * rect.width * stride, (row + 1) * rect.width * stride),
					((rect.top + row) * width * side + rect.left) * stride,
				);
		});
		return whole;
	};
	const result = {
		output: joined(output, 0),
		rgba: joined(rgba, output.length),
		tapped,
		tiled: decoder.size.tiled,
		exact: decoder.size.exact,
		operations: decoder.size.operations,
	};
	decoder.destroy();
	weights.destroy();
	scope[Symbol.dispose]();
	expect(on.bytes).toBe(before);
	return result;
}

/** How many words are others. */
const differing = (a: Float32Array<ArrayBuffer>, b: Float32Array<ArrayBuffer>) => {
	const other = words(b);
	expect(a.length).toBe(b.length);
	return words(a).reduce((sum, word, i) => sum + Number(word !== other[i]), 0);
};

const NOTHING: DecoderStore = { bytes: 0, packed: false };

const lesser = (bindingBytes: number) => new Gpu(gpu.device, gpu.facts, bindingBytes);

test.each([
	{ name: "Infinity's", source: wrappedDecoder(CONFIG), grid: [24, 20] as const, binding: 128 },
	{ name: "Infinity's", source: wrappedDecoder(CONFIG), grid: [24, 40] as const, binding: 256 },
	{ name: "VAR's", source: attentiveDecoder(CONFIG), grid: [12, 14] as const, binding: 96 },
])("$name decoder of $grid.0 x $grid.1 cells in bindings of $binding KiB: the same bits", async (setting) => {
	const { source, grid, binding } = setting;
	const whole = await decode(gpu, source, grid);
	expect(whole.tiled).toBeUndefined();
	const tiled = await decode(lesser(1024 * binding), source, grid);
	expect(tiled.exact).toBe(true);
	expect(tiled.tiled?.floats).toBeLessThanOrEqual((1024 * binding) / 4);
	expect(differing(tiled.output, whole.output)).toBe(0);
	expect(differing(tiled.rgba, whole.rgba)).toBe(0);
	expect(tiled.tapped).toEqual(whole.tapped);
});

test.each([
	{ name: "Infinity's", source: wrappedDecoder(CONFIG) },
	{ name: "VAR's", source: attentiveDecoder(CONFIG) },
])("$name: what is not stored between layers is computed again, to the same bits", async ({ source }) => {
	const whole = await decode(gpu, source, [12, 14]);
	const tiled = await decode(lesser(256 * 1024), source, [12, 14], NOTHING);
	expect(tiled.exact).toBe(true);
	expect(tiled.tiled?.stored).toBe(0);
	expect(differing(tiled.output, whole.output)).toBe(0);
});

test("attention writes no further than its buffers, whatever the cells", async () => {
	// As wide at every level: what attention works in decides how large buffers are.
	const source = attentiveDecoder({ ...CONFIG, multipliers: [2] });
	const grid = [13, 15] as const;
	const tiled = await decode(lesser(96 * 1024), source, grid, NOTHING);
	expect(4 * (tiled.tiled?.floats ?? 0)).toBeGreaterThanOrEqual(12 * 13 * 15 * 32);
	expect(tiled.tiled?.stored).toBe(0);
	const whole = await decode(gpu, source, grid);
	expect(whole.tiled).toBeUndefined();
	expect(differing(tiled.output, whole.output)).toBe(0);
	// The published one of VAR.
	const { vae, codebook } = publishedVar(16);
	for (const grid of [
		[19, 29],
		[23, 25],
		[25, 25],
	] as const) {
		const { tiled } = decoderSize(attentiveDecoder(vae), codebook.channels, [grid], 2 ** 30, NOTHING);
		expect(4 * (tiled?.floats ?? 0)).toBeGreaterThanOrEqual(12 * grid[0] * grid[1] * 640);
	}
});

test("where a binding holds no row, statistics are summed otherwise: within rounding", async () => {
	const source = wrappedDecoder(CONFIG);
	const whole = await decode(gpu, source, [4, 200]);
	const tiled = await decode(lesser(64 * 1024), source, [4, 200]);
	const most = whole.output.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
	expect(tiled.exact).toBe(false);
	expect(maxError(tiled.output, whole.output)).toBeLessThan(1e-5 * most);
	expect(tiled.tapped).toEqual(whole.tapped);
});

test.each([
	{ name: "Infinity's", source: wrappedDecoder(CONFIG), grid: [12, 14] as const },
	{ name: "VAR's", source: attentiveDecoder(CONFIG), grid: [12, 14] as const },
])("$name: what is stored as f16 takes fewer buffers, and is off by no more than f16 is", async ({ source, grid }) => {
	const whole = await decode(gpu, source, grid);
	const store = { bytes: 2 ** 20, packed: true };
	const tiled = await decode(lesser(64 * 1024), source, grid, store);
	const floats = await decode(lesser(64 * 1024), source, grid, { ...store, packed: false });
	expect(tiled.exact).toBe(false);
	expect(tiled.operations).toBeLessThanOrEqual(floats.operations);
	expect(tiled.tiled?.buffers).toBeLessThan(floats.tiled?.buffers ?? 0);
	expect(tiled.tapped).toEqual(whole.tapped);
	const most = whole.output.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
	const error = maxError(tiled.output, whole.output);
	expect(error).toBeGreaterThan(0);
	expect(error).toBeLessThan(2 ** -9 * most);
});

test("what f16 does not reach is stored as the largest number that it has", async () => {
	const source = wrappedDecoder(CONFIG);
	const store = { bytes: 2 ** 20, packed: true };
	const { output } = await decode(lesser(64 * 1024), source, [12, 14], store, 1e6);
	expect(output.every(Number.isFinite)).toBe(true);
});

test("Infinity's decoder takes two fifths of what whole tensors would and computes a tenth more", async () => {
	const source = wrappedDecoder(tokenizerConfig("d32"));
	const { work, pixels } = decoderFloats(source, 32, 64 * 64);
	const whole = 4 * (3 * work + 5 * pixels);
	expect(whole).toBeGreaterThan(3 * 2 ** 30);
	for (const binding of [2 ** 31 - 4, 2 ** 27]) {
		const size = (side: number, store?: DecoderStore) => decoderSize(source, 32, [[side, side]], binding, store);
		expect(size(64).bytes).toBeLessThan(0.41 * whole);
		expect(size(64).operations).toBeLessThan(1.11 * decoderOperations(source, 32, 64 * 64));
		expect(size(64).exact).toBe(true);
		expect(size(128).bytes).toBeLessThan(1.4 * 2 ** 30);
		expect(size(64).largest.bytes).toBeLessThanOrEqual(2 ** 25);
		const quarter = size(64, { bytes: 3 * 2 ** 28, packed: false });
		expect(quarter.bytes).toBeLessThan(0.8 * 2 ** 30);
		expect(quarter.exact).toBe(true);
	}
});

test.each(STORES.filter(({ bytes }) => bytes < STORED_BYTES / 2))(
	"previews are decoded in the buffers of the picture, %j stored",
	(store) => {
		const source = wrappedDecoder(tokenizerConfig("d32"));
		const { tiled } = decoderSize(source, 32, [[64, 64]], 2 ** 30, store);
		if (!tiled) throw new Error("a picture of 1024 pixels is decoded by tiles");
		for (const side of [24, 32, 40, 48, 64]) {
			const stored = storedFor(source, 32, [side, side], tiled);
			const alone = decoderSize(source, 32, [[side, side]], 2 ** 30, store).tiled?.buffers ?? 0;
			// Less is stored just where more buffers would be taken.
			expect(stored < tiled.stored, `${side}`).toBe(alone > tiled.buffers);
		}
	},
);

test("a binding that holds too little is refused", async () => {
	const weights = await load(gpu, wrappedDecoder(CONFIG));
	const make = (bytes: number, source: DecoderSource) =>
		new ConvDecoder(lesser(bytes), weights, source, LATENT, [[64, 64]]);
	expect(() => make(8 * 1024, wrappedDecoder({ ...CONFIG, baseChannels: 256, normGroups: 8 }))).toThrow(
		/decoder takes .* with its neighbours/,
	);
	expect(() => make(64 * 1024, attentiveDecoder(CONFIG))).toThrow(/attention over 4096 cells takes/);
	weights.destroy();
});
