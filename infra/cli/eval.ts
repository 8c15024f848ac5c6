import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SingleBar } from "cli-progress";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { POLICIES_FILE } from "../../model-shards/format/policies.ts";
import { openModel } from "../../worker/engine/open.ts";
import type { ModelFolder } from "../../worker/families/folder.ts";
import { findPolicy, policies as known } from "../../worker/policies/index.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { makeBranches } from "../eval/branches.ts";
import { costOf } from "../eval/cost.ts";
import { evaluateDiversity, SEEDS } from "../eval/diversity.ts";
import { Judge } from "../eval/judge.ts";
import { markdownOf } from "../eval/markdown.ts";
import { type Point, speedAgainstQuality } from "../eval/plot.ts";
import { type Prompt, readPrompts, seedOf, stratified } from "../eval/prompts.ts";
import { type Evaluation, evaluateQuality } from "../eval/quality.ts";
import { Records } from "../eval/records.ts";
import { contactSheet, type SheetRow } from "../eval/sheet.ts";
import { summarise } from "../eval/summary.ts";
import { evaluateMemory, evaluateTimes } from "../eval/timing.ts";
import { tradesOf, writeTrades } from "../eval/trades.ts";
import { openFolderWithBar } from "./open-folder.ts";
import { policyNamed, readPlan } from "./plan.ts";
import { parse, UsageError, whole } from "./usage.ts";

const BASELINE = "exact";
/** Of GenEval's prompts, "a photo of a red apple" and the like. */
const TEXT_TOKENS = 8;
const SHEET_ROWS = 12;

/**
 * Policies side by side: quality by the judge, diversity, times and memory. Ctrl-C ends it after the prompts in hand.
 */
export async function evalCommand(args: string[]): Promise<number> {
	const { values } = parse({
		args,
		options: {
			model: { type: "string", default: "emoji-128" },
			policies: { type: "string" },
			plan: { type: "string", multiple: true, default: [] },
			schedule: { type: "string" },
			prompts: { type: "string", default: "120" },
			seeds: { type: "string", default: "1" },
			timings: { type: "string", default: "3" },
			diversity: { type: "string", default: "6" },
			together: { type: "string" },
			out: { type: "string" },
			from: { type: "string" },
			report: { type: "string" },
			plot: { type: "string" },
			sheet: { type: "string" },
			"write-trades": { type: "boolean", default: false },
		},
	});
	if (values.from !== undefined && (values.out !== undefined || values.sheet !== undefined))
		throw new UsageError("--from reads what was measured and runs nothing: it goes without --out and --sheet.");
	const records = values.from === undefined ? await measure(values) : Records.read(values.from);
	const { head } = records;
	const summaries = summarise(records);
	const text = markdownOf(head, summaries);
	console.log(text);
	if (values.report) await writeFile(values.report, text);
	const points = summaries.filter((summary): summary is Point => summary.quality !== null);
	if (values.plot)
		await writeFile(
			values.plot,
			speedAgainstQuality(
				`${head.model}: score against speed`,
				`${points[0]?.quality.prompts ?? 0} prompts; ${head.adapter}`,
				points,
			),
		);
	if (values["write-trades"]) {
		const folder = await openFolderWithBar(values.model);
		if (folder.digest !== head.digest || head.schedule !== folder.info.defaultSchedule) {
			throw new UsageError(
				`These results are of ${head.model} (${head.digest}), schedule ${head.schedule}: give that model with --model; trades are of its default schedule.`,
			);
		}
		const path = join(folder.dir, POLICIES_FILE);
		await writeTrades(
			path,
			folder.digest,
			tradesOf(
				summaries.filter(({ policy }) => findPolicy(policy)),
				head.adapter,
			),
		);
		console.error(`The trades are in ${path}.`);
	}
	return 0;
}

interface Wishes {
	model: string;
	policies?: string;
	plan: string[];
	schedule?: string;
	prompts: string;
	seeds: string;
	timings: string;
	diversity: string;
	together?: string;
	out?: string;
	sheet?: string;
}

async function measure(values: Wishes): Promise<Records> {
	const all = await readPrompts();
	const prompts = stratified(
		all,
		values.prompts === "all" ? all.length : whole("prompts", values.prompts, 0, all.length),
	);
	const seeds = whole("seeds", values.seeds, 1, 100);
	const timed = stratified(all, whole("timings", values.timings, 0, 100));
	const diverse = stratified(all, whole("diversity", values.diversity, 0, all.length));
	const folder = await openFolderWithBar(values.model);
	if (folder.info.classes !== undefined)
		throw new UsageError(`${folder.info.id} draws classes; GenEval's prompts need a model that draws text.`);
	const plans = await plansOf(folder, values);

	const judge = await Judge.open();
	const gpu = await openGpu();
	console.error(`Adapter: ${gpu.facts.name}`);
	const together =
		values.together === undefined ? (gpu.facts.software ? 1 : 4) : whole("together", values.together, 1, 64);
	const model = await openModel(gpu, folder, { slots: plans.size * together });
	const { id, digest } = folder.info;
	const [exact] = plans.values();
	const records = Records.open(values.out, {
		kind: "evaluation",
		format: 1,
		model: id,
		digest,
		schedule: exact.schedule,
		judge: judge.digest,
		adapter: gpu.facts.name,
		numerics: model.numerics,
	});
	const cost = (plan: StagePlan) => costOf(folder, plan, TEXT_TOKENS);
	for (const [policy, plan] of plans) records.policy({ kind: "policy", policy, plan, cost: cost(plan) });

	const abort = new AbortController();
	const stop = () => abort.abort();
	process.once("SIGINT", stop);
	const bar = new SingleBar({
		format: "{bar} {what}: {value}/{total} pictures, {eta_formatted} left",
		stream: process.stderr,
		hideCursor: true,
		etaBuffer: 200,
	});
	const evaluation: Evaluation = { model, judge, records, plans, costOf: cost, signal: abort.signal, progress };
	let made = 0;
	function progress(done: number, more: number) {
		bar.increment(done);
		made += more;
	}
	const phase = async (what: string, pictures: number, work: () => Promise<void>) => {
		if (pictures === 0) return;
		const [begun, before] = [performance.now(), made];
		bar.start(pictures, 0, { what });
		try {
			await work();
		} finally {
			bar.stop();
		}
		const seconds = (performance.now() - begun) / 1000;
		console.error(
			`${what}: ${made - before} pictures made in ${Math.round(seconds)} s, ${((60 * (made - before)) / seconds).toFixed(1)} a minute`,
		);
	};
	try {
		await phase("judged", prompts.length * seeds * plans.size, () =>
			evaluateQuality(evaluation, prompts, seeds, together),
		);
		await phase("diversity", diverse.length * SEEDS * plans.size, () => evaluateDiversity(evaluation, diverse));
		await phase("timed", timed.length * (plans.size - 1) * 2, () => evaluateTimes(evaluation, timed));
		if (timed.length > 0) await evaluateMemory(evaluation, gpu, folder, all[0]);
		if (values.sheet)
			await contactSheet(
				[...plans.keys()],
				await sheetRows(evaluation, stratified(all, Math.min(SHEET_ROWS, prompts.length || SHEET_ROWS))),
			).toFile(values.sheet);
	} finally {
		process.removeListener("SIGINT", stop);
		await judge.close();
		model.destroy();
	}
	return records;
}

async function sheetRows({ model, plans, signal }: Evaluation, prompts: readonly Prompt[]): Promise<SheetRow[]> {
	const rows: SheetRow[] = [];
	for (const prompt of prompts) {
		const pictures = await makeBranches(model, [...plans.values()], {
			prompt: prompt.prompt,
			seed: seedOf(prompt, 0),
			signal,
		});
		rows.push({ caption: prompt.prompt, pictures: pictures.map(({ image }) => image) });
	}
	return rows;
}

/**
 * By name, the baseline first. Throws UsageError for unknown names, PlanError where a policy cannot plan for the model
 * or a plan cannot run on it.
 */
async function plansOf(
	{ info }: ModelFolder,
	{ policies, plan: files, schedule }: Wishes,
): Promise<Map<string, StagePlan>> {
	const plans = new Map<string, StagePlan>();
	const names = policies?.split(",") ?? Object.keys(known);
	for (const name of [BASELINE, ...names.filter((name) => name !== BASELINE)]) {
		const policy = policyNamed(name);
		plans.set(policy.name, policy.plan(info, { schedule }));
	}
	for (const option of files) {
		const [, name, file] = /^([^=]{1,64})=(.+)$/.exec(option) ?? [];
		if (!name) throw new UsageError(`--plan ${option}: give NAME=FILE.json.`);
		if (plans.has(name))
			throw new UsageError(`--plan ${name}: there is a policy of that name already; give the plan another.`);
		const plan = await readPlan(file, info);
		if (plan.schedule !== plans.get(BASELINE)?.schedule)
			throw new UsageError(
				`${file} is a plan for schedule ${plan.schedule}; give --schedule ${plan.schedule} to compare it with ${BASELINE} there.`,
			);
		plans.set(name, plan);
	}
	return plans;
}
