/** Runs the engine's production path over a reference set and compares every recorded tensor. */
import { join } from "node:path";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { importReferenceSet } from "../../model-shards/import/reference.ts";
import { openModelFolder } from "../../model-shards/open.ts";
import { type OpenOptions, openModel } from "../../worker/engine/open.ts";
import type { LoadedModel, TappedTensor } from "../../worker/engine/types.ts";
import type { Families } from "../../worker/families/family.ts";
import { channelsLast } from "../../worker/families/shared/taps.ts";
import { codeBits, packBits, packCodes, unpackCodes } from "../../worker/protocol/codes.ts";
import { type Temporary, temporaryFolder } from "../temporary.ts";
import { type Comparison, compare, subsample } from "./compare.ts";
import { decoderLatents, type ReferenceRun, readReferenceSet, referencePlan } from "./reference-set.ts";

/** The picture of a latent that no residual was added to. */
const DISCRETE = "image_discrete_only";

export interface VerifyOptions extends Pick<OpenOptions, "dtype" | "cacheDtype"> {
	/** Those that the set may be of; left out: all. */
	families?: Families;
}

export interface VerifiedRun {
	name: string;
	comparisons: Comparison[];
}

/**
 * Yields each run of a set, computed with the set's own weights, imported into a temporary model folder, or with the
 * model folder given. Throws ModelFormatError for what is no such set.
 */
export async function* verifySet(
	gpu: Gpu,
	dir: string,
	modelFolder?: string,
	{ families, ...precision }: VerifyOptions = {},
): AsyncGenerator<VerifiedRun, void, undefined> {
	const runs = await readReferenceSet(dir, { families });
	const temporary = modelFolder ? undefined : await temporaryFolder("firstlight-verify-");
	try {
		if (temporary) await importReferenceSet(join(dir, "manifest.json"), temporary.path, { families });
		const folder = await openModelFolder(modelFolder ?? (temporary as Temporary).path, { families });
		const model = await openModel(gpu, folder, {
			...precision,
			slots: Math.max(1, ...runs.map(({ labels }) => labels?.length ?? 1)),
		});
		try {
			// Beforehand, so that nothing keeps an interrupt waiting.
			await model.compile(runs.map((run) => referencePlan(run, model.info)));
			for (const run of runs)
				yield { name: run.name, comparisons: await verifyRun(model, run, folder.tokenizer !== null) };
		} finally {
			model.destroy();
		}
	} finally {
		temporary?.[Symbol.dispose]();
	}
}

/**
 * Feeds the recorded codes of every scale, so that one differing bit cannot spoil what follows, and compares the codes
 * the engine would have chosen itself.
 */
async function verifyRun(model: LoadedModel, run: ReferenceRun, tokenizes: boolean): Promise<Comparison[]> {
	const ids = run.draws.get("text.ids");
	if (ids && tokenizes) {
		// Our own tokenizer's ids are held against the recorded ones.
		run.draws.delete("text.ids");
		run.expected.set("text.ids", {
			dtype: "I32",
			shape: [ids.length],
			role: "output",
			exact: true,
			abs: 0,
			rel: 0,
			data: ids,
		});
	}
	// The pictures of a run are made at once, in one batch.
	const images = await Promise.all(
		(run.labels ?? [undefined]).map((label, image) => tapImage(model, run, label, image)),
	);
	const actual = new Map<string, ArrayLike<number>>();
	for (const [name, { shape }] of run.expected) {
		const parts = images.map((image) => image.get(name)).filter((part) => part !== undefined);
		if (parts.length === images.length)
			actual.set(name, images.length === 1 ? parts[0] : joinRows(parts, shape[0] / images.length));
	}
	for (const { prefix, data, grid } of decoderLatents(run, model.names)) {
		await model.decode(data, grid, {
			wants: (name) => run.expected.has(prefix + name),
			take: ({ name, data }) => actual.set(prefix + name, data),
		});
	}
	return [...run.expected].map(([name, expected]) => compare(name, expected, actual.get(name)));
}

/** What the engine computes for one picture of a run, by name. */
async function tapImage(
	model: LoadedModel,
	run: ReferenceRun,
	label: number | undefined,
	image: number,
): Promise<Map<string, ArrayLike<number>>> {
	const bits = model.info.bitsPerToken;
	const forcedCodes = run.scales.flatMap((scale, index) => (scale ? [recordedCodes(run, index, image, bits)] : []));
	const actual = new Map<string, ArrayLike<number>>();
	const pictures = [...run.expected.keys()].filter((name) => name.startsWith("image") && name !== DISCRETE);
	const take = ({ name, shape, data }: TappedTensor) => {
		if (name !== "image") actual.set(name, data);
		else for (const picture of pictures) actual.set(picture, thinned(picture, data, shape));
	};
	const thinned = (picture: string, data: ArrayLike<number>, shape: readonly number[]) =>
		subsample(data, shape, shape[2] / (run.expected.get(picture)?.shape.at(-1) ?? shape[2]));
	// Before what refines it: the latent of the codes alone.
	const discrete = run.expected.has(DISCRETE) ? `s${run.scales.length - 1}.${model.names.latent}` : null;
	const wants = (name: string) =>
		run.expected.has(name) || (name === "image" && pictures.length > 0) || name === discrete;
	const subject = label === undefined ? { prompt: run.prompt } : { label };
	for await (const result of model.generate({
		...subject,
		plan: referencePlan(run, model.info),
		seed: 0,
		draws: run.draws,
		forcedCodes,
		sampleForced: true,
		previews: "none",
		tap: { wants, take },
	})) {
		if (result.kind !== "scale") continue;
		const tokens = result.grid[0] * result.grid[1];
		actual.set(`s${result.index}.bits`, codeBits(result.codes, tokens, bits));
		if (bits <= 32) actual.set(`s${result.index}.idx`, unpackCodes(result.codes, tokens, bits));
	}
	const latent = discrete && actual.get(discrete);
	if (latent) {
		const [height, width] = run.schedule[run.schedule.length - 1];
		const tap = {
			wants: (name: string) => name === "image",
			take: ({ data, shape }: TappedTensor) => void actual.set(DISCRETE, thinned(DISCRETE, data, shape)),
		};
		await model.decode(channelsLast(latent, height * width), [height, width], tap);
	}
	return actual;
}

/** The codes of a scale, recorded as bits or as indices into a vocabulary, packed. */
function recordedCodes(run: ReferenceRun, scale: number, image: number, bits: number): Uint8Array {
	const [height, width] = run.schedule[scale];
	const indices = run.expected.get(`s${scale}.idx`)?.data;
	if (!indices) return packBits(run.expected.get(`s${scale}.bits`)?.data ?? []);
	return packCodes(
		Uint32Array.from(indices.subarray(image * height * width, (image + 1) * height * width)),
		height * width,
		bits,
	);
}

/**
 * Each image's rows, as the official code lays them out: the first row of every image, then the second of every image.
 */
function joinRows(images: readonly ArrayLike<number>[], rows: number): Float32Array {
	const joined = new Float32Array(images.reduce((sum, { length }) => sum + length, 0));
	let at = 0;
	for (let row = 0; row < rows; row++) {
		for (const image of images) {
			const each = image.length / rows;
			for (let i = 0; i < each; i++) joined[at++] = image[row * each + i];
		}
	}
	return joined;
}
