/** What a picture decoder takes on a device, from its shape and the device's limit alone. */
import { OutOfMemoryError } from "../../../kernels/gpu/errors.ts";
import { groupNormScratch } from "../../../kernels/norm/group-norm.ts";
import { decodeTiles, NORMS, type TiledDecoder } from "./tiled-decoder.ts";
import { CountedBuffers, type Source } from "./tiles.ts";
import { type DecoderSource, decoderFloats, decoderLayers, decoderOperations, mostGroups } from "./vae.ts";

/** Pictures of one call at most. */
const MAX_PICTURES = 64;
/** What a buffer takes where a binding holds as much: the larger, the fewer neighbours are computed twice. */
const BUFFER_BYTES = 2 ** 25;
/**
 * What is stored between layers at a time, at most. With a quarter less, Infinity's decoder computes two fifths more
 * than it has to for a picture of 1024 pixels, in place of a tenth.
 */
export const STORED_BYTES = 9 * 2 ** 27;
/** What a tensor of pictures that are decoded whole takes at most: more would be one long submission. */
const WHOLE_BYTES = 2 ** 28;
/** Where less is to be stored buffers are smaller, too: so many take it, and as many are computed in. At least this. */
const STORED_BUFFERS = 32;
const LEAST_BUFFER_BYTES = 2 ** 22;
/** Buffers that small pictures are decoded in whole: three to work in, scores, and the two forms of the picture. */
const WHOLE_BUFFERS = 6;

/** The height and width of a latent, in cells. */
export type LatentGrid = readonly [height: number, width: number];

/** Floats but where it says otherwise. */
export interface DecoderSize {
	/** Pictures of one call, and cells of all of them, that are decoded whole; a larger one is decoded by tiles. */
	pictures: number;
	cells: number;
	/** Where all are decoded whole: of each of the tensors to work in, of attention's scores, pixels of the picture. */
	whole?: { work: number; scores: number; pixels: number };
	/** Where some are not: how many buffers, of each, and of what is stored between layers, as f16 where `packed`. */
	tiled?: { buffers: number; floats: number; stored: number; packed: boolean };
	/** Of its convolutions for the picture that takes most, floating-point; what is computed again counts again. */
	operations: number;
	/** Pictures have the bits of those that are decoded whole. */
	exact: boolean;
	/** Of each tensor for statistics: those of a batch of pictures, and of every norm of a larger one. */
	statistics: readonly number[];
	/** All of it, in bytes. */
	bytes: number;
	/** The largest tensor, in bytes. */
	largest: { name: string; bytes: number };
}

/** What a decoder stores between layers. */
export interface DecoderStore {
	/** At most. */
	bytes: number;
	/** Half as exact as what is computed, and twice as much in as many bytes. */
	packed: boolean;
}
/** As much as is worth it. */
export const ROOMY: DecoderStore = { bytes: STORED_BYTES, packed: false };

/**
 * Of a decoder for latents of these grids at most, `latent` channels a cell. Throws OutOfMemoryError where a binding
 * holds too little for any way.
 */
export function decoderSize(
	source: DecoderSource,
	latent: number,
	grids: readonly LatentGrid[],
	bindingBytes: number,
	{ bytes: storedBytes, packed }: DecoderStore = ROOMY,
): DecoderSize {
	const groups = mostGroups(source.config);
	const pictures = Math.min(MAX_PICTURES, Math.floor(bindingBytes / 4 / groupNormScratch(1, groups)));
	if (pictures === 0)
		throw new OutOfMemoryError(
			`Statistics of ${groups} groups take ${4 * groupNormScratch(1, groups)} bytes; ` +
				`this adapter binds at most ${bindingBytes}. Use another GPU.`,
		);
	const batch = groupNormScratch(pictures, groups);
	const all = Math.max(...grids.map(([height, width]) => height * width));
	const { work, scores, pixels } = decoderFloats(source, latent, all);
	// What is no larger than a buffer of tiles gains nothing by being cut.
	const whole = Math.min(WHOLE_BYTES, Math.max(storedBytes / 3, LEAST_BUFFER_BYTES));
	const most = Math.min(bindingBytes, whole) / 4;
	if (Math.max(work, scores, 4 * pixels) <= most) {
		return {
			pictures,
			cells: all,
			whole: { work, scores, pixels },
			operations: decoderOperations(source, latent, all),
			exact: true,
			statistics: [batch],
			bytes: 4 * (3 * work + scores + 5 * pixels + batch),
			largest: { name: "decoder work", bytes: 4 * Math.max(work, scores, 4 * pixels) },
		};
	}
	const share = Math.min(BUFFER_BYTES, Math.max(LEAST_BUFFER_BYTES, storedBytes / STORED_BUFFERS));
	const floats = bufferFloats(source, all, Math.max(work, 4 * pixels), bindingBytes, share);
	const stored = storedBytes / 4;
	const one = decoderFloats(source, latent, 1);
	const cells = Math.floor(floats / Math.max(one.work, 4 * one.pixels));
	const tiles = { floats, stored, packed };
	const counted = grids.map((grid) => countBuffers(source, latent, grid, tiles));
	const buffers = Math.max(WHOLE_BUFFERS, ...counted.map(({ most }) => most));

	const layers = decoderLayers(source, latent).length;
	const statistics = [batch, ...Array.from({ length: layers * NORMS }, () => groupNormScratch(1, groups))];
	return {
		pictures,
		cells,
		tiled: { buffers, ...tiles },
		operations: Math.max(...counted.map(({ operations }) => operations)),
		exact: !packed && counted.every(({ inexact }) => !inexact),
		statistics,
		bytes: 4 * statistics.reduce((sum, floats) => sum + floats, buffers * floats),
		largest: { name: "decoder buffer", bytes: 4 * floats },
	};
}

/**
 * Floats that are stored between layers while a latent of this grid is decoded in the buffers of a larger one: fewer
 * where a small one would take more of them, since more of its layers fit beside each other. Throws OutOfMemoryError
 * where it takes too many whatever is stored.
 */
export function storedFor(
	source: DecoderSource,
	latent: number,
	grid: LatentGrid,
	{ buffers, floats, stored, packed }: NonNullable<DecoderSize["tiled"]>,
): number {
	for (let kept = stored; ; kept /= 2) {
		const { most } = countBuffers(source, latent, grid, { floats, stored: kept, packed });
		if (most <= buffers) return kept;
		if (kept < floats)
			throw new OutOfMemoryError(
				`A picture of ${grid.join(" x ")} cells takes ${most} of the decoder's buffers, of which there are ` +
					`${buffers}. Ask for fewer previews, or give the model more memory.`,
			);
	}
}

/** Attention has all pixels of the coarsest level in one buffer, as queries, keys and values. */
function bufferFloats(
	{ config, attentive }: DecoderSource,
	cells: number,
	whole: number,
	bindingBytes: number,
	bufferBytes: number,
): number {
	const { baseChannels, multipliers } = config;
	const width = baseChannels * multipliers[multipliers.length - 1];
	// In whole units of a buffer, so that what attention writes is never longer than one.
	const attended = attentive ? Math.ceil((4 * cells * 3 * width) / 1024) * 1024 : 0;
	if (attended > bindingBytes)
		throw new OutOfMemoryError(
			`The decoder's attention over ${cells} cells takes ${attended} bytes; this adapter binds at most ` +
				`${bindingBytes}. Use a smaller picture, or another GPU.`,
		);
	return Math.floor(Math.max(Math.min(bindingBytes, bufferBytes, 4 * whole), attended) / 1024) * 256;
}

/** By decoding such a latent without a device. */
function countBuffers(
	source: DecoderSource,
	latent: number,
	[height, width]: LatentGrid,
	{ stored, ...tiles }: Omit<NonNullable<DecoderSize["tiled"]>, "buffers">,
): CountedBuffers {
	const tiling = new CountedBuffers(tiles);
	const from: Source = {
		height,
		width,
		channels: latent,
		window: (h, w) => h * w * latent,
		fill() {},
		needs: () => [],
	};
	const { ops } = {} as Pick<TiledDecoder, "ops">;
	decodeTiles({ ops, statistics: [], tiling, stored, tap() {} }, from, decoderLayers(source, latent));
	return tiling;
}
