import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Gpu } from "../../kernels/gpu/gpu.ts";
import { isUrl } from "../../model-shards/format/folder.ts";
import { heldPolicies, POLICIES_FILE, policiesText } from "../../model-shards/format/policies.ts";
import { openModel } from "../../worker/engine/open.ts";
import type { LoadedModel, RgbImage } from "../../worker/engine/types.ts";
import { exact } from "../../worker/policies/exact.ts";
import type { Calibration } from "../../worker/protocol/model-info.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { boundsOf, meansOf, type ScaleMeans } from "../calibrate/bounds.ts";
import { unsettled } from "../calibrate/measures.ts";
import { MIDDLE, observe, type ScaleObservation } from "../calibrate/observe.ts";
import { convergencePlot, keptPlot } from "../calibrate/plots.ts";
import { bestTau, temperedPlans } from "../calibrate/temperature.ts";
import { bestWeight, textGuidedPlans } from "../calibrate/text-guidance.ts";
import { Judge } from "../eval/judge.ts";
import { type Prompt, readPrompts, seedOf, stratified } from "../eval/prompts.ts";
import { isRight } from "../eval/rules.ts";
import { openFolder } from "./open-folder.ts";
import { count, given, jsonOption, modelOption, scheduleOption } from "./options.ts";
import { OutputFile, outputFolder } from "./output.ts";
import type { Define } from "./program.ts";
import type { Terminal } from "./terminal.ts";
import { UsageError } from "./usage.ts";

/** Pictures whose ranks are measured: an eigenvalue problem a chunk and scale. */
const RANKED = 8;
const MAX_LINES = 100_000;
/** Number of the pictures whose temperature is tried, far from those that an evaluation makes. */
const OWN_PICTURE = 1_000_000;

/**
 * Runs prompts exactly, measures where each schedule settles, and writes policies.json beside the manifest, with plots.
 */
export const define: Define = (command, terminal) =>
	command
		.addOption(modelOption())
		.addOption(scheduleOption())
		.option("--count <number>", "prompts, as many of each kind as possible", count("count", 1, MAX_LINES), 48)
		.option("--judge", "also find the temperature at which the judge finds most of what was asked")
		.option("--prompts <file>", "a prompt a line (default: GenEval's)", given("prompts"))
		.option("--out <folder>", `where ${POLICIES_FILE} and its plots go (default: the model's folder)`, given("out"))
		.addOption(jsonOption())
		.action(async ({ model: where, schedule, count, judge: judged, prompts: promptsFile, out }) => {
			if (judged && promptsFile)
				throw new UsageError("--judge knows what GenEval's prompts ask for, no others; leave --prompts out.");
			if (isUrl(where) && out === undefined)
				throw new UsageError(`${where} is no folder of this machine; give --out DIR for its ${POLICIES_FILE}.`);
			if (out !== undefined) await outputFolder("--out", out);
			const prompts = promptsFile ? await readLines(promptsFile) : await readPrompts();
			if (count > prompts.length)
				throw new UsageError(`--count ${count} is more than the ${prompts.length} prompts that there are.`);
			const chosen = stratified(prompts, count);
			const folder = await openFolder(where, terminal);
			const { info } = folder;
			if (info.classes !== undefined) throw new UsageError(`${info.id} draws classes; calibrate runs prompts.`);
			const file = (name: string) => OutputFile.at("--out", join(out ?? folder.dir, name));
			const policies = await file(POLICIES_FILE);
			const [settling, tokens] = [await file("calibration-settling.svg"), await file("calibration-tokens.svg")];
			const plan = exact.plan(info, { schedule });
			const before = await heldPolicies(policies.path, info.digest);

			const judge = judged ? await Judge.open() : undefined;
			const gpu = await Gpu.open();
			terminal.say(`Adapter: ${gpu.facts.name}`);
			const model = await openModel(gpu, folder);
			await model.compile([plan]);
			const { pictures, calibration } = await measure(model, plan, chosen, judge, terminal);
			await judge?.close();
			model.destroy();
			const means = meansOf(pictures);
			await policies.write(
				policiesText({ ...before, calibration: { ...before.calibration, [plan.schedule]: calibration } }),
			);
			const about = { model: info.id, schedule: plan.schedule, pictures: pictures.length };
			await settling.write(convergencePlot(about, means, calibration));
			await tokens.write(keptPlot(about, means, calibration));
			terminal.table(means.map(tableRow));
			terminal.print(JSON.stringify(calibration));
			terminal.print(`${policies.path} and its plots are written.`);
			terminal.result({ ...about, out: policies.path, calibration, means });
		});

async function measure(
	model: LoadedModel,
	plan: StagePlan,
	chosen: readonly Prompt[],
	judge: Judge | undefined,
	terminal: Terminal,
): Promise<{ pictures: ScaleObservation[][]; calibration: Calibration }> {
	const { info } = model;
	const { signal } = terminal;
	using bar = terminal.progress("{bar} measured: {value}/{total} pictures, {eta_formatted} left");
	bar.start(chosen.length);
	const pictures: ScaleObservation[][] = [];
	let earlyTau = info.sampling.tau;
	let textGuidance: number | undefined;
	for (const prompt of chosen) {
		const verdicts =
			judge &&
			(async (images: readonly RgbImage[]) => (await judge.detect(images)).map((found) => isRight(found, prompt)));
		const ranks = pictures.length % Math.ceil(chosen.length / RANKED) === 0;
		pictures.push(
			await observe(model, plan, { prompt: prompt.prompt, seed: seedOf(prompt, 0), ranks, judge: verdicts, signal }),
		);
		bar.add(1);
	}
	const { guidanceTo } = boundsOf(pictures);
	if (info.guidesByText && guidanceTo < plan.steps.length) {
		const guided = textGuidedPlans(plan, guidanceTo);
		bar.start(chosen.length * guided.length);
		const differences: number[][] = [];
		for (const prompt of chosen) {
			const [finished, ...made] = await model.branches({
				plans: [plan, ...guided.map(({ plan }) => plan)],
				prompt: prompt.prompt,
				seed: seedOf(prompt, 0),
				signal,
			});
			differences.push(made.map(({ image }) => unsettled(image, finished.image, MIDDLE)));
			bar.add(guided.length);
		}
		const { means, best } = bestWeight(
			guided.map(({ weight }) => weight),
			differences,
		);
		textGuidance = best;
		const found = guided.map(({ weight }, i) => `${weight}: ${means[i].toFixed(4)}`).join(", ");
		terminal.print(`Difference to the guided picture by text guidance from scale ${guidanceTo} on: ${found}`);
	}
	if (judge) {
		const tempered = temperedPlans(plan, info.sampling.tau, boundsOf(pictures).fidelityFrom);
		bar.start(chosen.length * tempered.length);
		const right: boolean[][] = [];
		for (const prompt of chosen) {
			// Other pictures than those of an evaluation.
			const made = await model.branches({
				plans: tempered.map(({ plan }) => plan),
				prompt: prompt.prompt,
				seed: seedOf(prompt, OWN_PICTURE),
				signal,
			});
			right.push((await judge.detect(made.map(({ image }) => image))).map((found) => isRight(found, prompt)));
			bar.add(tempered.length);
		}
		earlyTau = bestTau(
			tempered.map(({ tau }) => tau),
			right,
		);
		const found = tempered.map(({ tau }, i) => `${tau}: ${right.filter((picture) => picture[i]).length}`).join(", ");
		terminal.print(`Right at early temperatures, of ${right.length}: ${found}`);
	}
	return {
		pictures,
		calibration: { ...boundsOf(pictures), earlyTau, ...(textGuidance !== undefined && { textGuidance }) },
	};
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
