/** A picture that does not fit is refused, and those that run go on; one that does is not, whatever is kept idle. */
import { expect, test } from "vitest";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { policies } from "../policies/index.ts";
import type { Gathering, RunStep, StagePlan } from "../protocol/plan.ts";
import { openModel } from "./open.ts";
import { features, unevenModel } from "./testing.ts";
import type { GenerateResult, LoadedModel } from "./types.ts";

const LARGE = 32;
const BITS = 64;
const GATHERED: Gathering = {
	blocks: [0, 2],
	each: "span",
	count: 1,
	take: { gather: "mean-distance" },
	rope: "kept",
	write: "kept",
	rest: "residual",
};

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

test("what an idle model keeps is no reason to refuse a picture that has room without it", async () => {
	const gpu = await openGpu();
	const folder = unevenModel(LARGE);
	const exact = policies.exact.plan(folder.info, { schedule: "large" });
	/** Fewer keys, and a larger workspace. */
	const gathering: StagePlan = {
		...exact,
		steps: exact.steps.map((step, scale) => (scale === 1 ? { ...(step as RunStep), reduce: [GATHERED] } : step)),
	};
	const draw = async (model: LoadedModel, plan: StagePlan) =>
		codesAndImage(await Array.fromAsync(model.generate({ plan, seed: 1, draws: features(), previews: "none" })));
	/** The picture of a model that has made none, and what of the device it was asked for at once. */
	const alone = async (plan: StagePlan) => {
		let most = 0;
		gpu.room = async (bytes) => {
			most = Math.max(most, gpu.bytes + bytes);
			return true;
		};
		const model = await openModel(gpu, folder);
		const picture = await draw(model, plan);
		model.destroy();
		return { picture, most };
	};
	try {
		const [one, other] = [await alone(exact), await alone(gathering)];
		expect(one.most).toBeLessThan(other.most);
		const limit = other.most;
		gpu.room = async (bytes) => gpu.bytes + bytes <= limit;
		for (const plans of [
			[exact, gathering, exact],
			[gathering, exact, gathering],
		]) {
			const model = await openModel(gpu, folder);
			// As a worker does before anything else: it opens each in turn.
			await model.compile(plans);
			for (const plan of plans) expect(await draw(model, plan)).toEqual((plan === exact ? one : other).picture);
			// What fits in no way is refused as ever.
			gpu.room = async () => false;
			await expect(draw(model, plans[1])).rejects.toThrow(/There is no device memory for another picture/);
			gpu.room = async (bytes) => gpu.bytes + bytes <= limit;
			model.destroy();
		}
	} finally {
		gpu.destroy();
	}
});
