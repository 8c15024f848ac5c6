/** Imports over full official lists, which tests of a few sizes share, fast ones and slow ones. */
import { expect, it } from "vitest";
import { families } from "../../worker/families/index.ts";
import { importPublished, publishedTensors } from "./published.ts";
import { nowhere } from "./sink.ts";
import { syntheticSource } from "./synthetic.ts";

/** Makes a test of each size: how many bytes it is at least, and what its names begin with in its checkpoint. */
export function importsInPieces(sizes: [name: string, size: string, bytes: number, at: string][]): void {
	it.each(sizes)(
		"%s %s imports over its full official list within a few pieces of memory",
		async (name, size, bytes, at) => {
			const family = families[name];
			const { head } = family.published.describe(size);
			const [weights, vae] = publishedTensors(family, size);
			// HART's tokenizer is published with its discriminator, and both under their modules' names.
			const nested = [
				...vae.map(({ name, shape }) => ({ name: `vae.${name}`, shape })),
				{ name: "disc.main.0.weight", shape: [64, 3, 4, 4] },
				{ name: "vae.quant_conv.weight", shape: [32, 32, 3, 3] },
			];
			// STAR's transformer is published within its trainer's checkpoint.
			const state = [
				...weights.map(({ name, shape }) => ({ name: at + name, shape })),
				...(at
					? [
							{ name: "trainer.vae_local.quant_conv.bias", shape: [32] },
							{ name: "epoch", shape: [1] },
						]
					: []),
			];
			const before = process.memoryUsage().arrayBuffers;
			let peak = 0;
			let read = 0;
			const manifest = await importPublished(
				family,
				size,
				[syntheticSource("tokenizer", nested, "F32"), syntheticSource("weights", state, "BF16")],
				{
					out: nowhere,
					dtype: "f16",
					progress(done) {
						read = done;
						peak = Math.max(peak, process.memoryUsage().arrayBuffers - before);
					},
				},
			);
			expect(manifest.tensors.map(({ name, shape }) => ({ name, shape }))).toEqual(
				family.tensors(head.config).map(({ name, shape }) => ({ name, shape })),
			);
			expect(read).toBeGreaterThan(bytes);
			expect(peak).toBeLessThan(256 * 2 ** 20);
			expect(manifest).toMatchObject(head);
		},
	);
}
