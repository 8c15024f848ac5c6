import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SingleBar } from "cli-progress";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { heldPolicies, POLICIES_FILE, policiesText } from "../../model-shards/format/policies.ts";
import { openModel } from "../../worker/engine/open.ts";
import type { RgbImage } from "../../worker/engine/types.ts";
import { policies } from "../../worker/policies/index.ts";
import type { ScaleMeans, ScaleObservation, Seen } from "../../worker/policies/measurements/measurement.ts";
import type { Calibration } from "../../worker/protocol/model-info.ts";
import { calibrationOf } from "../calibrate/measure.ts";
import { observe } from "../calibrate/observe.ts";
import { convergencePlot, keptPlot } from "../calibrate/plots.ts";
import { seenOf } from "../calibrate/seen.ts";
import { tryOut, type Workshop } from "../calibrate/trials.ts";
import { Judge } from "../eval/judge.ts";
import { type Prompt, readPrompts, seedOf, stratified } from "../eval/prompts.ts";
import { isRight } from "../eval/rules.ts";
import { openFolderWithBar } from "./open-folder.ts";
import { parse, UsageError, whole } from "./usage.ts";

/** Pictures whose ranks are measured: an eigenvalue problem a chunk and scale. */
const RANKED = 8;
const MAX_LINES = 100_000;

/**
 * Runs prompts exactly, measures where each schedule settles, and writes policies.json beside the manifest, with plots.
 */
export async function calibrateCommand(args: string[]): Promise<number> {
	const { values } = parse({
		args,
		options: {
			model: { type: "string", default: "emoji-128" },
			schedule: { type: "string" },
			prompts: { type: "string" },
			count: { type: "string", default: "48" },
			judge: { type: "boolean", default: false },
			out: { type: "string" },
		},
	});
	const folder = await openFolderWithBar(values.model);
	const { info } = folder;
	if (info.classes !== undefined) throw new UsageError(`${info.id} draws classes; calibrate runs prompts.`);
	if (values.judge && values.prompts)
		throw new UsageError("--judge knows what GenEval's prompts ask for, no others; leave --prompts out.");
	const out = values.out ?? folder.dir;
	if (/^https?:/.test(out))
		throw new UsageError(`${info.id} lies behind a URL; give --out DIR for its ${POLICIES_FILE}.`);
	const prompts = values.prompts ? await readLines(values.prompts) : await readPrompts();
	const chosen = stratified(prompts, whole("count", values.count, 1, prompts.length));
	const plan = policies.exact.plan(info, { schedule: values.schedule });
	const path = join(out, POLICIES_FILE);
	const before = await heldPolicies(path, info.digest);

	const judge = values.judge ? await Judge.open() : undefined;
	const gpu = await openGpu();
	console.error(`Adapter: ${gpu.facts.name}`);
	const model = await openModel(gpu, folder);
	const abort = new AbortController();
	process.once("SIGINT", () => abort.abort());
	const bar = new SingleBar({
		format: "{bar} measured: {value}/{total} pictures, {eta_formatted} left",
		stream: process.stderr,
		hideCursor: true,
	});
	bar.start(chosen.length, 0);
	const pictures: ScaleObservation[][] = [];
	let seen: Seen;
	let calibration: Calibration;
	try {
		for (const prompt of chosen) {
			const verdicts =
				judge &&
				(async (images: readonly RgbImage[]) => (await judge.detect(images)).map((found) => isRight(found, prompt)));
			const ranks = pictures.length % Math.ceil(chosen.length / RANKED) === 0;
			pictures.push(
				await observe(model, plan, {
					prompt: prompt.prompt,
					seed: seedOf(prompt, 0),
					ranks,
					judge: verdicts,
					signal: abort.signal,
				}),
			);
			bar.increment();
		}
		seen = seenOf(pictures);
		const workshop: Workshop = {
			model,
			exact: plan,
			seen,
			prompts: chosen,
			judge,
			signal: abort.signal,
			begin: (made) => bar.start(made, 0),
			progress: (made) => bar.increment(made),
		};
		calibration = await calibrationOf(
			Object.values(policies),
			seen,
			before.calibration[plan.schedule],
			async (name, { trial }) => {
				const { value, words } = await tryOut(trial, workshop);
				if (words) console.log(`${name}: ${words}`);
				return value;
			},
		);
	} finally {
		bar.stop();
		await judge?.close();
		model.destroy();
	}
	await writeFile(
		path,
		policiesText({ ...before, calibration: { ...before.calibration, [plan.schedule]: calibration } }),
	);
	const about = { model: info.id, schedule: plan.schedule };
	await writeFile(join(out, "calibration-settling.svg"), convergencePlot(about, seen));
	await writeFile(join(out, "calibration-tokens.svg"), keptPlot(about, seen));
	console.table(seen.means.map(tableRow));
	console.log(JSON.stringify(calibration));
	console.log(`${path} and its plots are written.`);
	return 0;
}

function tableRow({ ranks, looks, ...shares }: ScaleMeans): Record<string, number | string | null> {
	const list = (values: readonly number[]) => values.map((value) => value.toFixed(2)).join(" ");
	const rounded = Object.entries(shares).map(([name, value]) => [name, value && Number(value.toFixed(3))]);
	return { ...Object.fromEntries(rounded), ranks: list(ranks), looks: list(looks.map(({ tokens }) => tokens)) };
}

/** A prompt a line. */
async function readLines(path: string): Promise<Prompt[]> {
	const lines = (await readFile(path, "utf8"))
		.split("\n")
		.map((line) => line.trim())
		.filter(Boolean);
	if (lines.length === 0 || lines.length > MAX_LINES)
		throw new UsageError(`${path} has ${lines.length} prompts; 1 to ${MAX_LINES} are read, one a line.`);
	return lines.map((prompt, place) => ({ place, prompt, tag: "prompt", include: [] }));
}
