import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { POLICIES_FILE, policiesText } from "../../model-shards/format/policies.ts";
import { heldPolicies } from "../../model-shards/held-policies.ts";
import { isUrl } from "../../model-shards/open.ts";
import { openModel, requireDrawn } from "../../worker/engine/open.ts";
import type { RgbImage } from "../../worker/engine/types.ts";
import { policies } from "../../worker/policies/index.ts";
import type { ScaleMeans, ScaleObservation } from "../../worker/policies/measurements/measurement.ts";
import type { Calibration } from "../../worker/protocol/model-info.ts";
import { calibrationOf } from "../calibrate/measure.ts";
import { observe } from "../calibrate/observe.ts";
import { convergencePlot, keptPlot } from "../calibrate/plots.ts";
import { seenOf } from "../calibrate/seen.ts";
import { tryOut, type Workshop } from "../calibrate/trials.ts";
import { Judge } from "../eval/judge.ts";
import { type Prompt, readPrompts, seedOf, stratified } from "../eval/prompts.ts";
import { isRight } from "../eval/rules.ts";
import { openAdapter } from "./open-adapter.ts";
import { openFolder } from "./open-folder.ts";
import { count, given, jsonOption, modelOption, scheduleOption } from "./options.ts";
import { OutputFile, outputFolder } from "./output.ts";
import type { Define } from "./program.ts";
import type { Terminal } from "./terminal.ts";
import { UsageError } from "./usage.ts";

/** Prompts, where nobody says how many. */
const COUNT = 48;
/** Pictures whose ranks are measured: an eigenvalue problem a chunk and scale. */
const RANKED = 8;
const MAX_LINES = 100_000;

/**
 * Runs prompts exactly, measures where each schedule settles, and writes policies.json beside the manifest, with plots.
 */
export const define: Define = (command, terminal) =>
	command
		.addOption(modelOption())
		.addOption(scheduleOption())
		.option(
			"--count <number>",
			`prompts, as many of each kind as possible (default: ${COUNT}, or all that there are)`,
			count("count", 1, MAX_LINES),
		)
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
			if (count !== undefined && count > prompts.length)
				throw new UsageError(`--count ${count} is more than the ${prompts.length} prompts that there are.`);
			const chosen = stratified(prompts, count ?? Math.min(COUNT, prompts.length));
			const folder = await openFolder(where, terminal);
			const { info } = folder;
			if (info.classes !== undefined) throw new UsageError(`${info.id} draws classes; calibrate runs prompts.`);
			requireDrawn(folder, chosen);
			const at = (name: string) => OutputFile.at("--out", join(out ?? folder.dir, name));
			const file = await at(POLICIES_FILE);
			const [settling, tokens] = [await at("calibration-settling.svg"), await at("calibration-tokens.svg")];
			const plan = policies.exact.plan(info, { schedule });
			const before = (await heldPolicies(file.path, info.digest)).calibration[plan.schedule];

			const judge = judged ? await Judge.open() : undefined;
			const gpu = await openAdapter(terminal);
			terminal.say(`Adapter: ${gpu.facts.name}`);
			const model = await openModel(gpu, folder);
			await model.compile([plan]);
			const { seen, calibration } = await measure({
				model,
				exact: plan,
				prompts: chosen,
				judge,
				before,
				terminal,
			});
			await judge?.close();
			model.destroy();
			// As it is by now: another schedule may have been calibrated meanwhile, or trades written.
			const held = await heldPolicies(file.path, info.digest);
			await file.write(policiesText({ ...held, calibration: { ...held.calibration, [plan.schedule]: calibration } }));
			const about = { model: info.id, schedule: plan.schedule };
			await settling.write(await convergencePlot(about, seen));
			await tokens.write(await keptPlot(about, seen));
			terminal.table(seen.means.map(tableRow));
			terminal.print(JSON.stringify(calibration));
			terminal.print(`${file.path} and its plots are written.`);
			terminal.result({ ...about, pictures: chosen.length, out: file.path, calibration, means: seen.means });
		});

interface Measuring extends Pick<Workshop, "model" | "exact" | "judge"> {
	prompts: readonly Prompt[];
	/** What the schedule's calibration was. */
	before: Calibration | undefined;
	terminal: Terminal;
}

/** Looks at the exact pictures of the prompts, then tries out what policies cannot find in them. */
async function measure({ model, exact, prompts, judge, before, terminal }: Measuring) {
	const { signal } = terminal;
	using bar = terminal.progress("{bar} measured: {value}/{total} pictures, {eta_formatted} left");
	bar.start(prompts.length);
	const pictures: ScaleObservation[][] = [];
	for (const prompt of prompts) {
		const verdicts =
			judge &&
			(async (images: readonly RgbImage[]) => (await judge.detect(images)).map((found) => isRight(found, prompt)));
		const ranks = pictures.length % Math.ceil(prompts.length / RANKED) === 0;
		pictures.push(
			await observe(model, exact, { prompt: prompt.prompt, seed: seedOf(prompt, 0), ranks, judge: verdicts, signal }),
		);
		bar.add(1);
	}
	const seen = seenOf(pictures);
	const workshop: Workshop = {
		model,
		exact,
		seen,
		prompts,
		judge,
		signal,
		begin: (made) => bar.start(made),
		progress: (made) => bar.add(made),
	};
	const calibration = await calibrationOf(Object.values(policies), seen, before, async (name, { trial }) => {
		const { value, words } = await tryOut(trial, workshop);
		if (words) terminal.print(`${name}: ${words}`);
		return value;
	});
	return { seen, calibration };
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
