/** A picture that does not fit is refused, and those that run go on. */
import { expect, test } from "vitest";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { policies } from "../policies/index.ts";
import { openModel } from "./open.ts";
import { features, unevenModel } from "./testing.ts";
import type { GenerateResult } from "./types.ts";

const LARGE = 32;
const BITS = 64;

const codesAndImage = (results: GenerateResult[]): unknown[] =>
	results.map((result) => (result.kind === "scale" ? result.codes : result.kind === "final" && result.image));

test("a picture beyond what one buffer holds leaves the one that runs as it is, and nothing behind", async () => {
	// Of logits mixed by guidance: those of one large picture and a half.
	const buffer = 1.5 * 2 * LARGE ** 2 * 2 * BITS * 4;
	const gpu = await openGpu({ binding: buffer, buffer });
	const model = await openModel(gpu, unevenModel(LARGE), { slots: 2 });
	try {
		const ask = (schedule: string, seed: number) =>
			model.generate({
				plan: policies.exact.plan(model.info, { schedule }),
				seed,
				draws: features(),
				previews: "none",
			});
		const alone = await Array.fromAsync(ask("large", 1));
		// A large one and a small one have room together.
		await Promise.all([Array.fromAsync(ask("large", 2)), Array.fromAsync(ask("small", 3))]);
		const before = gpu.bytes;
		const running = ask("large", 1);
		const first = (await running.next()).value as GenerateResult;
		await expect(Array.fromAsync(ask("large", 2))).rejects.toThrow(
			/mixed logits needs a buffer of \d+ bytes.*uneven with 2 slot\(s\) takes about/,
		);
		expect(await Array.fromAsync(ask("small", 3))).toHaveLength(4);
		const rest = await Array.fromAsync(running);
		expect(codesAndImage([first, ...rest])).toEqual(codesAndImage(alone));
		expect(gpu.bytes).toBe(before);
	} finally {
		model.destroy();
		gpu.destroy();
	}
});
