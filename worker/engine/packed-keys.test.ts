/** Keys and values in eight and four bits: how far pictures go from those of f32, and that all else holds as ever. */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { difference } from "../../infra/verify/against.ts";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { SMALL_HEAD } from "../../model-shards/testing.ts";
import type { ModelFolder } from "../families/folder.ts";
import { randomModel } from "../families/testing/random-model.ts";
import { policies } from "../policies/index.ts";
import type { StagePlan } from "../protocol/plan.ts";
import { openModel, reckoned } from "./open.ts";
import { STORES, within } from "./paper/budget.ts";
import { memoryNeed } from "./paper/memory.ts";
import { features, unevenModel } from "./testing.ts";
import type { GenerateOptions, LoadedModel } from "./types.ts";

const gpu = await sharedGpu();
let tiny: ModelFolder;
let reference: LoadedModel;
beforeAll(async () => {
	tiny = await openModelFolder(findModel("tiny"));
	reference = await openModel(gpu, tiny);
});
afterAll(() => reference.destroy());

const hashed = (parts: readonly Uint8Array[]): string => {
	const hash = createHash("sha256");
	for (const part of parts) hash.update(part);
	return hash.digest("hex");
};

/** The codes of every scale, and a hash of them with the picture. */
async function draw(model: LoadedModel, options: Omit<GenerateOptions, "model" | "previews">) {
	const codes: Uint8Array[] = [];
	let image = new Uint8Array();
	for await (const result of model.generate({ ...options, previews: "none" })) {
		if (result.kind === "scale") codes.push(result.codes);
		else if (result.kind === "final") image = result.image.data;
	}
	return { codes, hash: hashed([...codes, image]) };
}

/** Most of the guided logits' error, of their size, and least share of a scale's bits that stay. */
describe.each([
	["int8", 0.02, 0.99],
	["int4", 0.2, 0.9],
] as const)("%s", (cacheDtype, error, bits) => {
	let model: LoadedModel;
	beforeAll(async () => {
		model = await openModel(gpu, tiny, { cacheDtype, slots: 3 });
	});
	afterAll(() => model.destroy());
	const subject = { prompt: "a photo of a cat", seed: 7 };

	it("is near f32, and says that it is not the same", async () => {
		const { scales, samePsnr } = await difference(
			reference,
			model,
			policies.exact.plan(model.info, {}),
			{ prompt: "a photo of a cat" },
			7,
		);
		const logits = scales.map(({ logits }) => logits);
		expect(Math.max(...logits)).toBeLessThan(error);
		expect(Math.max(...logits)).toBeGreaterThan(error / 100);
		expect(Math.min(...scales.map(({ bits }) => bits))).toBeGreaterThan(bits);
		// Codes are all that the picture is decoded from.
		expect(samePsnr).toBe(Infinity);
		expect(model.numerics).not.toBe(reference.numerics);
	});

	it.runIf(cacheDtype === "int4")(
		"gives every policy's picture alone, together, as branches and replayed the same bits",
		async () => {
			const plans = Object.values(policies).map((policy) => policy.plan(model.info, {}));
			const alone: Awaited<ReturnType<typeof draw>>[] = [];
			for (const plan of plans) alone.push(await draw(model, { ...subject, plan }));
			const together = await Promise.all(plans.map((plan) => draw(model, { ...subject, plan })));
			expect(together.map(({ hash }) => hash)).toEqual(alone.map(({ hash }) => hash));
			const exact = plans.findIndex(({ policy }) => policy === "exact");
			const first = (list: readonly StagePlan[]) => [list[exact], ...list.filter((_, i) => i !== exact)];
			const branches = await model.branches({ ...subject, plans: first(plans) });
			const { hash } = alone[exact];
			expect(hashed([...branches[0].codes, branches[0].image.data])).toBe(hash);
			const others = alone.filter((_, i) => i !== exact).map(({ hash }) => hash);
			expect(branches.slice(1).map(({ codes, image }) => hashed([...codes, image.data]))).toEqual(others);
			const forcedCodes = alone[exact].codes.slice(0, 2);
			const replayed = await draw(model, { ...subject, plan: plans[exact], forcedCodes });
			expect(replayed.codes).toEqual(alone[exact].codes.slice(2));
		},
	);

	it("taps the keys that it reads", async () => {
		// Of the first scale and block: nothing is different before it.
		const name = "s0.blk0.k_cache";
		const keys = async (of: LoadedModel) => {
			let found: Float32Array | Int32Array | undefined;
			const tap = {
				wants: (wanted: string) => wanted === name,
				take: ({ data }: { data: typeof found }) => (found = data),
			};
			for await (const _ of of.generate({
				...subject,
				plan: policies.exact.plan(of.info, {}),
				previews: "none",
				tap,
				until: 0,
			}));
			return found as Float32Array;
		};
		const [own, expected] = [await keys(model), await keys(reference)];
		expect(own.length).toBe(expected.length);
		const size = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0));
		const off = size(own.map((value, i) => value - expected[i])) / size(expected);
		expect(off).toBeLessThan(error / 2);
		expect(off).toBeGreaterThan(error / 100);
	});
});

it("a budget takes bits from keys no sooner than it has to, and no more than it has to", async () => {
	// Of keys almost all: a long schedule, a decoder of a few channels.
	const large = unevenModel(24, { width: 64, ffn: 64 });
	const { schedules } = large.manifest;
	schedules.large.grids = [1, 24, 24, 24, 24].map((side) => [side, side]);
	const setting = { schedule: "large" };
	const total = (cacheDtype: "f32" | "int8" | "int4") =>
		memoryNeed(large, { ...setting, cacheDtype, stored: STORES.at(-1) }).total;
	const kept = (memory: number) => within(large, setting, memory, ["f32", "int8", "int4"])?.within.cacheDtype;
	expect([total("f32"), total("f32") - 1, total("int8"), total("int8") - 1, total("int4")].map(kept)).toEqual([
		"f32",
		"int8",
		"int8",
		"int4",
		"int4",
	]);
	expect(kept(total("int4") - 1)).toBeUndefined();
	expect(within(large, setting, total("f32") - 1)?.within.cacheDtype).toBe("f16");

	const { folder } = randomModel({ ...large.manifest, defaultSchedule: "large", config: { ...large.config } }, 1);
	const subject = { seed: 1, draws: features() };
	for (const cacheDtype of ["int8", "int4"] as const) {
		const bare = gpu.bytes;
		const model = await openModel(gpu, folder, { memory: total(cacheDtype) });
		const explicit = await openModel(gpu, folder, { cacheDtype });
		expect(model.numerics).toBe(explicit.numerics);
		explicit.destroy();
		const plan = policies.exact.plan(model.info, {});
		expect((await draw(model, { ...subject, plan })).codes).toHaveLength(plan.steps.length);
		model.destroy();
		expect(gpu.bytes).toBe(bare);
	}
	const refused = openModel(gpu, folder, { memory: total("int4") - 1 });
	await expect(refused).rejects.toThrow(
		/^The \d+ bytes that are given do not do\. .*keys and values as int4 .* all of it/,
	);
});

it("a budget is settled by the schedule that takes most, whichever is the default", async () => {
	const folder = unevenModel(64);
	const need = (schedule: string) => memoryNeed(folder, { schedule, bindingBytes: gpu.bindingBytes }).total;
	expect(folder.info.defaultSchedule).toBe("small");
	expect(reckoned(gpu, folder, { memory: need("large") }).bytes).toBe(need("large"));
	const small = openModel(gpu, folder, { memory: need("small") });
	await expect(small).rejects.toThrow(/^The \d+ bytes that are given do not do\./);
});

it("keys whose rows cannot be cut apart are not packed", async () => {
	const { folder } = randomModel({ ...SMALL_HEAD, config: { ...SMALL_HEAD.config, width: 12, heads: 1 } }, 1);
	await expect(openModel(gpu, folder, { cacheDtype: "int8" })).rejects.toThrow(/a width of 12 are not packed/);
	expect(within(folder, {}, memoryNeed(folder).total / 2)).toBeUndefined();
	// Of more tokens than a group of rows may begin from anywhere.
	await expect(openModel(gpu, unevenModel(17), { cacheDtype: "int8" })).rejects.toThrow(
		/a width of 16 are not packed: it is no multiple of 64\. Keep them as f32 or f16/,
	);
	const narrow = unevenModel(24, { depth: 8 });
	narrow.manifest.schedules.large.grids = [1, 24, 24, 24, 24].map((side) => [side, side]);
	const setting = { schedule: "large" };
	const least = memoryNeed(narrow, { ...setting, cacheDtype: "f16", stored: STORES.at(-1) }).total;
	expect(within(narrow, setting, least)?.within.cacheDtype).toBe("f16");
	expect(within(narrow, setting, least - 1)).toBeUndefined();
});
