/**
 * What a job is after its first scales, kept beside it: other jobs of the same prompt and seed, whose plans begin
 * alike, go on from there.
 */

import type { Gpu, Tensor } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { copy } from "../../../kernels/tokens/gather.ts";
import type { KeyValueStore } from "./key-value-store.ts";
import type { Latents } from "./latents.ts";
import type { Job } from "./picture.ts";
import type { Retained } from "./spans.ts";

export interface Snapshot {
	/** Steps that led to it. */
	scales: number;
	/** Cached keys and values of each guidance row, by block; empty for a row that is no longer computed. */
	keys: { tensor: Tensor; count: number }[][];
	latent: Tensor;
	/** By `retainedKey`. */
	retained: Map<string, Pick<Retained, "tensor" | "rows">>;
}

export function takeSnapshot(
	gpu: Gpu,
	pass: Pass,
	job: Job,
	scales: number,
	store: KeyValueStore,
	latents: Latents,
): Snapshot {
	const keys = job.keys.map((ranges) =>
		ranges.map(({ start, used }, block) => {
			const {
				shape: [, stride],
				dtype,
			} = store.tensor(block);
			const tensor = gpu.tensor("snapshot keys and values", [used, stride], 0, dtype);
			copy(pass, {
				x: store.tensor(block),
				from: start * stride,
				y: tensor,
				count: used * stride,
				label: "snapshot keys",
			});
			return { tensor, count: used };
		}),
	);
	const { from, count } = floatsOf(latents, job);
	const latent = gpu.tensor("snapshot latent", [count]);
	copy(pass, { x: latents.tensor, from, y: latent, count, label: "snapshot latent" });
	const retained = new Map(
		[...job.retained]
			.filter(([, { scale }]) => scale < scales)
			.map(([key, { tensor, rows }]) => {
				const own = gpu.tensor("snapshot retained", tensor.shape);
				copy(pass, { x: tensor, y: own, count: tensor.bytes / 4, label: "snapshot retained" });
				return [key, { tensor: own, rows }];
			}),
	);
	return { scales, keys, latent, retained };
}

/** Puts a job that has not begun where the snapshot was taken. Its plan begins with the steps that led there. */
export function restoreSnapshot(
	pass: Pass,
	job: Job,
	{ scales, keys, latent, retained }: Snapshot,
	store: KeyValueStore,
	latents: Latents,
): void {
	for (const [row, ranges] of job.keys.entries()) {
		for (const [block, range] of ranges.entries()) {
			// A row that no later step computes has room for fewer, and needs none.
			const held = keys[row][block];
			if (!held || held.count > range.capacity) continue;
			const {
				shape: [, stride],
			} = store.tensor(block);
			copy(pass, {
				x: held.tensor,
				y: store.tensor(block),
				to: range.start * stride,
				count: held.count * stride,
				label: "restore keys",
			});
			range.used = held.count;
		}
	}
	const { from: to, count } = floatsOf(latents, job);
	copy(pass, { x: latent, y: latents.tensor, to, count, label: "restore latent" });
	for (const [key, own] of job.retained) {
		const { scale, tensor } = own;
		if (scale >= scales) continue;
		const held = retained.get(key);
		if (!held)
			throw new Error(
				`The snapshot kept nothing of scale ${scale} for ${key}: the job it is of was opened without this plan among its branches.`,
			);
		copy(pass, {
			x: held.tensor,
			y: tensor,
			count: Math.min(held.tensor.bytes, tensor.bytes) / 4,
			label: "restore retained",
		});
		own.rows = held.rows;
	}
}

export function freeSnapshot(gpu: Gpu, { keys, latent, retained }: Snapshot): void {
	gpu.free(...[...keys.flat(), ...retained.values()].map(({ tensor }) => tensor), latent);
}

/** Where a job's latent lies among all. */
function floatsOf(latents: Latents, job: Job): { from: number; count: number } {
	const { pixel, height, width } = latents.of(job);
	return { from: pixel * latents.channels, count: height * width * latents.channels };
}
