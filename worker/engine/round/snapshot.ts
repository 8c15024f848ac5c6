/**
 * What a picture is after its first scales, kept beside it: other pictures of the same prompt and seed, whose plans
 * begin alike, go on from there.
 */

import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { copy } from "../../../kernels/tokens/gather.ts";
import type { KeyValueStore } from "./key-value-store.ts";
import type { Latents } from "./latents.ts";
import type { Picture } from "./picture.ts";
import type { Retained } from "./spans.ts";

/** Frees its tensors when it is disposed of. */
export interface Snapshot extends Disposable {
	/** Scales that led to it. */
	readonly scales: number;
	/** Cached keys and values of each guidance row, by block; empty for a row that is no longer computed. */
	readonly keys: readonly (readonly { tensor: Tensor; count: number }[])[];
	readonly latent: Tensor;
	/** By `sourceKey`. */
	readonly retained: ReadonlyMap<string, Pick<Retained, "tensor" | "rows">>;
}

/** Throws DeviceError with nothing left allocated. */
export function takeSnapshot(
	gpu: Gpu,
	pass: Pass,
	picture: Picture,
	scales: number,
	store: KeyValueStore,
	latents: Latents,
): Snapshot {
	using made = new Scope(gpu);
	const keys = picture.ranges.map((ranges) =>
		ranges.map(({ start, used }, block) => {
			const { tensor: x, key } = store.at(block, start);
			const [, stride] = x.shape;
			const tensor = made.long("snapshot keys and values", [used, stride], x.dtype);
			copy(pass, {
				x,
				from: key * stride,
				y: tensor,
				count: used * stride,
				label: "snapshot keys",
			});
			return { tensor, count: used };
		}),
	);
	const { from, count } = floatsOf(latents, picture);
	const latent = made.long("snapshot latent", [count]);
	copy(pass, { x: latents.tensor, from, y: latent, count, label: "snapshot latent" });
	const retained = new Map(
		[...picture.retained]
			.filter(([, { scale }]) => scale < scales)
			.map(([key, { tensor, rows }]) => {
				const own = made.long("snapshot retained", tensor.shape);
				copy(pass, { x: tensor, y: own, count: tensor.bytes / 4, label: "snapshot retained" });
				return [key, { tensor: own, rows }];
			}),
	);
	const owned = made.move();
	return { scales, keys, latent, retained, [Symbol.dispose]: () => owned[Symbol.dispose]() };
}

/** Puts a picture that has not begun where the snapshot was taken. Its plan begins with the steps that led there. */
export function restoreSnapshot(
	pass: Pass,
	picture: Picture,
	{ scales, keys, latent, retained }: Snapshot,
	store: KeyValueStore,
	latents: Latents,
): void {
	for (const [row, ranges] of picture.ranges.entries()) {
		for (const [block, range] of ranges.entries()) {
			// A row that no later step computes has room for fewer, and needs none.
			const held = keys[row][block];
			if (!held || held.count > range.capacity) continue;
			const { tensor: y, key } = store.at(block, range.start);
			const [, stride] = y.shape;
			copy(pass, {
				x: held.tensor,
				y,
				to: key * stride,
				count: held.count * stride,
				label: "restore keys",
			});
			range.used = held.count;
		}
	}
	const { from: to, count } = floatsOf(latents, picture);
	copy(pass, { x: latent, y: latents.tensor, to, count, label: "restore latent" });
	for (const [key, own] of picture.retained) {
		const { scale, tensor } = own;
		if (scale >= scales) continue;
		const held = retained.get(key);
		if (!held)
			throw new Error(
				`The snapshot retained nothing of scale ${scale} for ${key}: ` +
					"the picture it is of was opened without this plan among its branches.",
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

/** Where a picture's latent lies among all. */
function floatsOf(latents: Latents, picture: Picture): { from: number; count: number } {
	const { pixel, height, width } = latents.of(picture);
	return { from: pixel * latents.channels, count: height * width * latents.channels };
}
