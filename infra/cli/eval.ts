import { readFile, writeFile } from "node:fs/promises";
import { SingleBar } from "cli-progress";
import { Gpu } from "../../kernels/gpu.ts";
import type { ModelFolder } from "../../model-shards/folder.ts";
import { openModel } from "../../worker/engine/open-model.ts";
import { policies as known } from "../../worker/engine/plan/policies.ts";
import { checkPlan } from "../../worker/engine/plan/validate.ts";
import { StagePlan } from "../../worker/protocol/plan.ts";
import { costOf } from "../eval/cost.ts";
import { Judge } from "../eval/judge.ts";
import { markdownOf } from "../eval/markdown.ts";
import { readPrompts, stratified } from "../eval/prompts.ts";
import { type Evaluation, evaluateQuality } from "../eval/quality.ts";
import { Records } from "../eval/records.ts";
import { summarise } from "../eval/summary.ts";
import { evaluateMemory, evaluateTimes } from "../eval/timing.ts";
import { openModelWithBar } from "./open-model.ts";
import { parse, UsageError, whole } from "./usage.ts";

const BASELINE = "exact";
const MAX_PLAN_BYTES = 2 ** 20;
/** Of GenEval's prompts, "a photo of a red apple" and the like. */
const TEXT_TOKENS = 8;

/** Policies side by side: quality by the judge, then times and memory. Ctrl-C ends it after the prompts in hand. */
export async function evalCommand(args: string[]): Promise<number> {
	const { values } = parse({
		args,
		options: {
			model: { type: "string", default: "emoji-128" },
			policies: { type: "string", default: Object.keys(known).join(",") },
			plan: { type: "string", multiple: true, default: [] },
			schedule: { type: "string" },
			prompts: { type: "string", default: "120" },
			seeds: { type: "string", default: "1" },
			timings: { type: "string", default: "3" },
			together: { type: "string" },
			out: { type: "string" },
			report: { type: "string" },
		},
	});
	const all = await readPrompts();
	const count = values.prompts === "all" ? all.length : whole("prompts", values.prompts, 0, all.length);
	const seeds = whole("seeds", values.seeds, 1, 100);
	const timings = whole("timings", values.timings, 0, 100);
	const folder = await openModelWithBar(values.model);
	if (folder.info.classes !== undefined) throw new UsageError(`${folder.info.id} draws classes; GenEval's prompts need a model that draws text.`);
	const plans = await plansOf(folder, values.policies.split(","), values.plan, values.schedule);

	const judge = await Judge.open();
	const gpu = await Gpu.open();
	console.error(`Adapter: ${gpu.facts.name}`);
	const together = values.together === undefined ? (gpu.facts.software ? 1 : 4) : whole("together", values.together, 1, 64);
	const model = await openModel(gpu, folder, { slots: plans.size * together });
	const { id, digest } = folder.info;
	const [exact] = plans.values();
	const records = Records.open(values.out, { kind: "evaluation", format: 1, model: id, digest, schedule: exact.schedule, judge: judge.digest, adapter: gpu.facts.name, numerics: model.numerics });
	for (const [policy, plan] of plans) records.policy({ kind: "policy", policy, plan, cost: costOf(folder.manifest, plan, TEXT_TOKENS) });

	const abort = new AbortController();
	const stop = () => abort.abort();
	process.once("SIGINT", stop);
	const bar = new SingleBar({ format: "{bar} {what}: {value}/{total} pictures, {rate} a minute, {eta_formatted} left", stream: process.stderr, hideCursor: true, etaBuffer: 200 });
	let begun = performance.now();
	let done = 0;
	const evaluation: Evaluation = {
		model, judge, records, plans, signal: abort.signal,
		progress(pictures) {
			done += pictures;
			bar.increment(pictures, { rate: Math.round((60_000 * done) / (performance.now() - begun)) });
		},
	};
	const phase = async (what: string, pictures: number, work: () => Promise<void>) => {
		if (pictures === 0) return;
		[begun, done] = [performance.now(), 0];
		bar.start(pictures, 0, { what, rate: 0 });
		try {
			await work();
		} finally {
			bar.stop();
		}
	};
	try {
		const prompts = stratified(all, count);
		await phase("judged", prompts.length * seeds * plans.size, () => evaluateQuality(evaluation, prompts, seeds, together));
		const timed = stratified(all, timings);
		await phase("timed", timed.length * (plans.size - 1) * 2, () => evaluateTimes(evaluation, timed));
		if (timings > 0) await evaluateMemory(evaluation, gpu, folder, all[0]);
	} finally {
		process.removeListener("SIGINT", stop);
		await judge.close();
		model.destroy();
	}
	const text = markdownOf(records.head, summarise(records));
	if (values.report) await writeFile(values.report, text);
	console.log(text);
	return 0;
}

/** By name, the baseline first. Throws UsageError for unknown names, PlanError where a policy cannot plan for the model or a plan cannot run on it. */
async function plansOf({ info }: ModelFolder, names: readonly string[], files: readonly string[], schedule: string | undefined): Promise<Map<string, StagePlan>> {
	const plans = new Map<string, StagePlan>();
	for (const name of [BASELINE, ...names.filter((name) => name !== BASELINE)]) {
		const policy = Object.hasOwn(known, name) ? known[name] : undefined;
		if (!policy) throw new UsageError(`There is no policy ${name}. There are: ${Object.keys(known).join(", ")}.`);
		plans.set(name, policy.plan(info, { schedule }));
	}
	for (const option of files) {
		const [, name, file] = /^([^=]{1,64})=(.+)$/.exec(option) ?? [];
		if (!name) throw new UsageError(`--plan ${option}: give NAME=FILE.json.`);
		if (plans.has(name)) throw new UsageError(`--plan ${name}: there is a policy of that name already; give the plan another.`);
		const plan = await readPlan(file);
		checkPlan(plan, info);
		if (plan.schedule !== plans.get(BASELINE)?.schedule) throw new UsageError(`${file} is a plan for schedule ${plan.schedule}; give --schedule ${plan.schedule} to compare it with ${BASELINE} there.`);
		plans.set(name, plan);
	}
	return plans;
}

async function readPlan(file: string): Promise<StagePlan> {
	const text = await readFile(file, "utf8");
	if (text.length > MAX_PLAN_BYTES) throw new UsageError(`${file} has more than ${MAX_PLAN_BYTES} bytes; a plan is smaller.`);
	let json: unknown;
	try {
		json = JSON.parse(text);
	} catch (error) {
		throw new UsageError(`${file} is not JSON: ${(error as Error).message}.`);
	}
	const parsed = StagePlan.safeParse(json);
	if (!parsed.success) throw new UsageError(`${file} is not a plan: ${parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`).join("; ")}.`);
	return parsed.data;
}
