/**
 * Golden bits: hashes of the codes and the picture that every small model makes of stored plans. They say when the
 * engine's numbers changed, down to the last bit; whether they are right is for the recorded references to say.
 *
 *     node test/golden/bits.ts
 *
 * records anew what changed, once ENGINE_VERSION or KERNELS_VERSION was raised, and what was never recorded: a case
 * with "" for codes and picture.
 */
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { z } from "zod";
import { readReferenceSet } from "../../infra/verify/reference-set.ts";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { KERNELS_VERSION } from "../../kernels/tune.ts";
import { importReferenceSet } from "../../model-shards/import/reference.ts";
import { bundledModels, findModel, openModelFolder } from "../../model-shards/open.ts";
import { ENGINE_VERSION } from "../../worker/engine/numerics.ts";
import { openModel } from "../../worker/engine/open.ts";
import type { GenerateOptions } from "../../worker/engine/types.ts";
import { StagePlan } from "../../worker/protocol/plan.ts";

const FOLDER = join(import.meta.dirname, "bits");
const REFERENCE = join(import.meta.dirname, "..", "reference");

/**
 * A plan that is run, and what came of it, or "" until it was run. The plan is stored, so that a change of a policy is
 * none of the bits.
 */
const Case = z.strictObject({ name: z.string(), plan: StagePlan, codes: z.string(), picture: z.string() });
const Bits = z.strictObject({
	/** Of engine and kernels. */
	versions: z.tuple([z.int(), z.int()]),
	/** Of the adapter's own arithmetic: another processor may round a division or an exponential differently. */
	arithmetic: z.string(),
	cases: z.array(Case).min(1),
});
export type Bits = z.infer<typeof Bits>;

export const VERSIONS: Bits["versions"] = [ENGINE_VERSION, KERNELS_VERSION];

/** Names of the models with golden bits. */
export const models = async (): Promise<string[]> => (await readdir(FOLDER)).map((file) => basename(file, ".json"));

export const readBits = async (model: string): Promise<Bits> =>
	Bits.parse(JSON.parse(await readFile(join(FOLDER, `${model}.json`), "utf8")));

const sha256 = (parts: readonly Uint8Array[]): string => {
	const hash = createHash("sha256");
	for (const part of parts) hash.update(part);
	return hash.digest("hex").slice(0, 32);
};

/** What the adapter makes of the functions that WGSL leaves to it, and of a multiply-add. */
export async function arithmetic(gpu: Gpu): Promise<string> {
	const count = 4096;
	const { device } = gpu;
	const out = device.createBuffer({
		label: "probe",
		size: count * 32,
		usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC,
	});
	const back = device.createBuffer({
		label: "probe back",
		size: out.size,
		usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
	});
	const code = `
@group(0) @binding(0) var<storage, read_write> out: array<vec4f>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let x = (f32(id.x) - 2048.0) * 0.0048828125 + 0.001;
	out[2u * id.x] = vec4f(exp(x), tanh(x), inverseSqrt(abs(x)), 1.0 / x);
	out[2u * id.x + 1u] = vec4f(fma(x, 1.1, 0.3), x * 1.1 + 0.3, sqrt(abs(x)), log(abs(x)));
}`;
	const module = device.createShaderModule({ label: "probe", code });
	const pipeline = device.createComputePipeline({ label: "probe", layout: "auto", compute: { module } });
	const entries = [{ binding: 0, resource: { buffer: out } }];
	const encoder = device.createCommandEncoder({ label: "probe" });
	const pass = encoder.beginComputePass({ label: "probe" });
	pass.setPipeline(pipeline);
	pass.setBindGroup(0, device.createBindGroup({ label: "probe", layout: pipeline.getBindGroupLayout(0), entries }));
	pass.dispatchWorkgroups(count / 64);
	pass.end();
	encoder.copyBufferToBuffer(out, 0, back, 0, out.size);
	device.queue.submit([encoder.finish()]);
	await back.mapAsync(GPUMapMode.READ);
	const hash = sha256([new Uint8Array(back.getMappedRange())]);
	out.destroy();
	back.destroy();
	return `${gpu.facts.name} ${gpu.facts.driver} ${hash}`;
}

/** Runs plans on a model, bundled or of a reference set. What it draws is fixed by the model. */
export async function runBits(
	gpu: Gpu,
	name: string,
	plans: readonly { name: string; plan: StagePlan }[],
): Promise<Bits["cases"]> {
	const bundled = bundledModels().includes(name);
	const dir = bundled ? findModel(name) : await mkdtemp(join(tmpdir(), "bits-"));
	if (!bundled) await importReferenceSet(join(REFERENCE, name, "manifest.json"), dir);
	const model = await openModel(gpu, await openModelFolder(dir));
	try {
		const cases: Bits["cases"] = [];
		for (const { name: policy, plan } of plans) {
			const codes: Uint8Array[] = [];
			let picture: Uint8Array = new Uint8Array();
			for await (const result of model.generate({
				plan,
				seed: 7,
				previews: "none",
				...(await subject(name, bundled)),
			})) {
				if (result.kind === "scale") codes.push(result.codes);
				if (result.kind === "final") picture = result.image.data;
			}
			cases.push({ name: policy, plan, codes: sha256(codes), picture: sha256([picture]) });
		}
		return cases;
	} finally {
		model.destroy();
		if (!bundled) await rm(dir, { recursive: true });
	}
}

/** A prompt, a class, or the text features that the reference set was recorded with. */
async function subject(name: string, bundled: boolean): Promise<Pick<GenerateOptions, "prompt" | "label" | "draws">> {
	if (bundled) return { prompt: "a photo of a red apple and a blue bus" };
	const [{ labels, draws }] = await readReferenceSet(join(REFERENCE, name));
	return labels === null
		? { draws: new Map([...draws].filter(([name]) => name.startsWith("text."))) }
		: { label: labels[0] };
}

/** Names of the cases whose bits are others than recorded. One that was never recorded has none to differ from. */
export const changedCases = (recorded: Bits["cases"], made: Bits["cases"]): string[] =>
	recorded.flatMap(({ name, codes, picture }, i) =>
		(codes === "" && picture === "") || (codes === made[i].codes && picture === made[i].picture) ? [] : [name],
	);

/** A file whose diffs show which case changed. */
const bitsText = ({ cases, ...head }: Bits): string =>
	`${JSON.stringify(head).slice(0, -1)},"cases":[\n${cases.map((one) => JSON.stringify(one)).join(",\n")}\n]}\n`;

if (import.meta.main) {
	const gpu = await openGpu();
	const here = await arithmetic(gpu);
	for (const model of await models()) {
		const recorded = await readBits(model);
		const cases = await runBits(gpu, model, recorded.cases);
		const changed = changedCases(recorded.cases, cases);
		if (changed.length > 0 && here === recorded.arithmetic && recorded.versions.join() === VERSIONS.join())
			throw new Error(
				`The bits of ${model} changed (${changed.join(", ")}): raise ENGINE_VERSION (or KERNELS_VERSION) first.`,
			);
		await writeFile(join(FOLDER, `${model}.json`), bitsText({ versions: VERSIONS, arithmetic: here, cases }));
		const fresh = recorded.cases.filter(({ codes }) => codes === "").length;
		const bits = changed.length > 0 ? `other bits of ${changed.join(", ")}` : "the same bits";
		console.log(`${model}: ${cases.length} plans, ${bits}${fresh > 0 ? `, ${fresh} recorded for the first time` : ""}`);
	}
	gpu.destroy();
}
