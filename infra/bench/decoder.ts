/** The picture decoder of Infinity's published tokenizer alone, with random weights: what it takes on this adapter. */
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { Scope } from "../../kernels/gpu/scope.ts";
import { tokenizerConfig } from "../../worker/families/infinity/published.ts";
import { ConvDecoder } from "../../worker/families/shared/conv-decoder.ts";
import { decoderFloats, decoderOperations, decoderTensors, wrappedDecoder } from "../../worker/families/shared/vae.ts";
import { Weights } from "../../worker/families/shared/weights.ts";
import type { Watch } from "./measure.ts";
import { randomFloats, randomTensors } from "./random-model.ts";

export interface DecoderReport {
	/** Of a side, in cells and pixels. */
	cells: number;
	pixels: number;
	/** What one binding holds. */
	binding: number;
	/** Bytes: of the weights, of what the decoder holds beside them, and of what it would, all images whole. */
	weights: number;
	held: number;
	whole: number;
	/** Buffers and bytes of each, where it decodes by tiles. */
	tiles: { buffers: number; bytes: number } | null;
	seconds: number;
	/** Operations that one pass over the picture needs, by that time; what is computed twice counts once. */
	gflops: number;
	/** Mean of the picture's bytes. */
	mean: number;
}

const CHANNELS = 32;

/**
 * Decodes one random latent of `cells` x `cells`; `progress` counts submissions. Throws OutOfMemoryError where the
 * device holds too little, and what `progress` throws.
 */
export async function benchDecoder(gpu: Gpu, cells: number, { progress }: Watch = {}): Promise<DecoderReport> {
	const source = wrappedDecoder(tokenizerConfig("d32"));
	const wanted = decoderTensors(source, CHANNELS);
	const tensors = wanted.map(({ name, shape }) => ({
		name,
		dtype: "F32" as const,
		shape,
		shard: 0,
		offset: 0,
		bytes: 4 * shape.reduce((product, size) => product * size, 1),
	}));
	using owned = new DisposableStack();
	const empty = gpu.bytes;
	const weights = await Weights.load(gpu, { manifest: { tensors }, wanted, tensors: () => randomTensors({ tensors }) });
	owned.defer(() => weights.destroy());
	const scope = owned.use(new Scope(gpu));
	const latents = scope.upload("latents", [cells ** 2, CHANNELS], randomFloats(cells ** 2 * CHANNELS, 1));
	const loaded = gpu.bytes;
	const codes = { numbers: CHANNELS, channels: CHANNELS };
	const decoder = owned.adopt(new ConvDecoder(gpu, weights, source, codes, [[cells, cells]]), (made) => made.destroy());
	await gpu.allocated();
	const held = gpu.bytes - loaded;
	const begun = performance.now();
	const grid = { pixel: 0, height: cells, width: cells };
	const parts: Promise<void>[] = [];
	let done = 0;
	const sent = () =>
		parts.push(gpu.device.queue.onSubmittedWorkDone().then(() => progress?.(++done, parts.length + 1)));
	const { pass, pictures } = decoder.record(gpu.pass("decoder"), latents, [grid], undefined, sent);
	const read = pass.submit(
		pictures.flatMap(({ rgba }) =>
			rgba.map(({ rect, x, from }) => ({ ...x, offset: 4 * from, bytes: 4 * rect.height * rect.width })),
		),
	);
	const [data] = await Promise.all([read, ...parts]);
	const seconds = (performance.now() - begun) / 1000;
	const bytes = data.map((part) => new Uint8Array(part));
	const count = bytes.reduce((sum, { length }) => sum + length, 0);
	const { work, pixels } = decoderFloats(source, CHANNELS, cells ** 2);
	const { tiled } = decoder.size;
	return {
		cells,
		pixels: cells * decoder.patch,
		binding: gpu.bindingBytes,
		weights: loaded - empty,
		held,
		whole: 4 * (3 * work + 5 * pixels),
		tiles: tiled ? { buffers: tiled.buffers, bytes: 4 * tiled.floats } : null,
		seconds,
		gflops: decoderOperations(source, CHANNELS, cells ** 2) / seconds / 1e9,
		mean: bytes.reduce((sum, part) => sum + part.reduce((total, byte) => total + byte, 0), 0) / count,
	};
}
