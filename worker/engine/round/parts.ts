/** What a round is of: one scale of each of several pictures. */
import type { RunStep } from "../../protocol/plan.ts";
import { ROWS, rowsOf } from "./kv-plan.ts";
import type { Picture } from "./picture.ts";
import type { Span } from "./spans.ts";

/** One scale of one picture: transformer, sampling, codes into the latent, pictures of it. */
export interface ScaleRequest {
	picture: Picture;
	scale: number;
	/** Run head and sampling. Off where logged codes are replayed. */
	sample: boolean;
	/** Packed codes to go on with; absent: those sampled. */
	forced?: Uint8Array;
	/**
	 * Scales at whose grids the latent is decoded, once the codes are in it; the schedule's last gives the finished
	 * picture.
	 */
	pictures: readonly number[];
}

/** A request in a round: its sizes, and its places in what no change of the batch's layout moves. */
export interface Part {
	readonly request: ScaleRequest;
	readonly picture: Picture;
	readonly scale: number;
	readonly step: RunStep;
	/** Guidance rows, in the order of the batch. */
	readonly rows: readonly number[];
	/** Tokens of a row at full length. The last `codes` of them give its codes. */
	readonly tokens: number;
	readonly codes: number;
	/** Where it runs on few tokens. */
	readonly spans: readonly Span[];
	/** First of its places in what is counted once a picture (codes, inputs), and how many. */
	readonly cell: number;
	readonly cells: number;
	/** First of its places in what is counted by guidance row at full length (positions of selected tokens). */
	readonly first: number;
	/** Where its sampled codes go: its own cells, or beyond all cells where others are forced. */
	readonly sampledAt: number;
}

/** The parts of a round. Those that are sampled come first: the head runs over them alone. */
export function partsOf(requests: readonly ScaleRequest[]): Part[] {
	const sizes = requests
		.toSorted((a, b) => Number(b.sample) - Number(a.sample))
		.map((request) => {
			const { picture, scale } = request;
			const step = picture.plan.steps[scale] as RunStep;
			const rows = rowsOf(step);
			const tokens = picture.tokens[scale];
			// The first scale's inputs differ by guidance row.
			const cells = scale === 0 ? ROWS * tokens : tokens;
			return { request, picture, scale, step, rows, tokens, codes: picture.codes[scale], cells };
		});
	const all = cellsIn(sizes);
	let [cell, first] = [0, 0];
	return sizes.map((part) => {
		const { request, picture, scale, rows, tokens, cells } = part;
		const sampledAt = cell + (request.forced && request.sample ? all : 0);
		const placed = { ...part, spans: picture.spans[scale], cell, first, sampledAt };
		cell += cells;
		first += rows.length * tokens;
		return placed;
	});
}

export const cellsIn = (parts: readonly Pick<Part, "cells">[]): number =>
	parts.reduce((sum, { cells }) => sum + cells, 0);
