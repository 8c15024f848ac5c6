/**
 * One round: the next scale (arXiv 2404.02905) of each of several pictures, in one command buffer. It reads as the
 * paper does: the latent so far is embedded, runs through the blocks and gives logits; the codes sampled from them are
 * added to the latent, and after the last scale what is no code.
 */
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Graph } from "../../families/family.ts";
import type { Weights } from "../../families/shared/weights.ts";
import { codeWords, packCodes } from "../../protocol/codes.ts";
import { advance } from "./advance.ts";
import { runBlocks } from "./blocks.ts";
import { embed } from "./embed.ts";
import type { KeyValueStore } from "./key-value-store.ts";
import type { Latents } from "./latents.ts";
import { cellsIn, type Part, partsOf, type ScaleRequest } from "./parts.ts";
import { releaseKeys } from "./picture.ts";
import type { PictureDecoder } from "./picture-decoder.ts";
import { refine } from "./refine.ts";
import type { RgbImage } from "./rgb-image.ts";
import { sampleCodes } from "./sampling.ts";
import type { Workspace } from "./workspace.ts";

/** What rounds run with. */
export interface RoundModel {
	readonly gpu: Gpu;
	readonly graph: Graph;
	readonly weights: Weights;
	readonly store: KeyValueStore;
	readonly latents: Latents;
	readonly decoder: PictureDecoder;
}

/** What the steps of one round are recorded with. */
export interface RoundContext extends RoundModel {
	readonly pass: Pass;
	readonly work: Workspace;
}

/** Both by request, in their order. */
export interface Round {
	/** Packed codes sampled; null where none were. */
	codes: Promise<(Uint8Array<ArrayBuffer> | null)[]>;
	/** Each request's own: what cannot be had of one is no other's business. */
	pictures: Promise<RgbImage[]>[];
}

/** Records and submits a round. The requests are of different pictures, and the scales of a picture come in order. */
export function runRound(model: RoundModel, work: Workspace, requests: readonly ScaleRequest[]): Round {
	const parts = partsOf(requests);
	using pass = model.gpu.pass(`round of ${parts.map(({ scale }) => scale).join(", ")}`);
	record({ ...model, pass, work }, parts);
	const words = codeWords(model.graph.codes.bits);
	const read = pass.submit([{ ...work.codes, bytes: 2 * cellsIn(parts) * words * 4 }]);
	for (const { picture, scale } of parts) releaseKeys(picture, model.store, scale);
	const decoded = decode(model, parts);
	const inOrder = requests.map((request) => parts.find((part) => part.request === request) as Part);
	return {
		codes: read.then(([data]) => inOrder.map((part) => sampledCodes(part, new Uint32Array(data), model.graph))),
		pictures: inOrder.map((part) => Promise.all(decoded.get(part) ?? [])),
	};
}

function record(context: RoundContext, parts: readonly Part[]): void {
	begin(context, parts);
	const embedded = embed(context, parts);
	const layout = runBlocks(context, embedded);
	sampleCodes(context, layout);
	advance(context, layout);
	refine(context, layout);
}

/** The conditioning of pictures at their first round. */
function begin({ pass, graph, store }: RoundContext, parts: readonly Part[]): void {
	for (const { picture } of parts) {
		if (picture.begun) continue;
		graph.begin(pass, picture, store);
		picture.begun = true;
	}
}

function sampledCodes(
	{ request, sampledAt, codes }: Part,
	words: Uint32Array,
	graph: Graph,
): Uint8Array<ArrayBuffer> | null {
	if (!request.sample) return null;
	const { bits } = graph.codes;
	const stride = codeWords(bits);
	return packCodes(words.subarray(sampledAt * stride, (sampledAt + codes) * stride), codes, bits);
}

/** The pictures that the requests ask for. */
function decode(
	{ graph, latents, decoder }: RoundModel,
	parts: readonly Part[],
): ReadonlyMap<Part, Promise<RgbImage>[]> {
	const wanted = parts.flatMap((part) => part.request.pictures.map((scale) => ({ part, scale })));
	const pictures = decoder.decode(
		latents.tensor,
		wanted.map(({ part: { picture }, scale }) => {
			const finished = scale === picture.grids.length - 1;
			return {
				from: latents.of(picture),
				grid: latents.grid(picture, scale),
				taps: picture.taps,
				latentName: finished ? graph.names.final : null,
				finished,
			};
		}),
	);
	const made = new Map<Part, Promise<RgbImage>[]>();
	wanted.forEach(({ part }, i) => made.set(part, [...(made.get(part) ?? []), pictures[i]]));
	return made;
}
