import { extname, join } from "node:path";
import { Option } from "@commander-js/extra-typings";
import type { FormatEnum } from "sharp";
import { POLICIES_FILE } from "../../model-shards/format/policies.ts";
import { isUrl } from "../../model-shards/open.ts";
import { openModel, requireDrawn } from "../../worker/engine/open.ts";
import type { ModelFolder } from "../../worker/families/folder.ts";
import { findPolicy, policies as known, type Policy } from "../../worker/policies/index.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { makeBranches } from "../eval/branches.ts";
import { costOf } from "../eval/cost.ts";
import { evaluateDiversity, SEEDS } from "../eval/diversity.ts";
import { Judge } from "../eval/judge.ts";
import { markdownOf } from "../eval/markdown.ts";
import { type Point, speedAgainstQuality } from "../eval/plot.ts";
import { besides, type Prompt, readPrompts, seedOf, stratified } from "../eval/prompts.ts";
import { type Evaluation, evaluateQuality } from "../eval/quality.ts";
import { Records } from "../eval/records.ts";
import { SecondJudge } from "../eval/second-judge/second-judge.ts";
import { contactSheet, type SheetRow } from "../eval/sheet.ts";
import { summarise } from "../eval/summary.ts";
import { evaluateMemory, evaluateTimes } from "../eval/timing.ts";
import { tradesOf, writeTrades } from "../eval/trades.ts";
import { openAdapter } from "./open-adapter.ts";
import { openFolder } from "./open-folder.ts";
import {
	count,
	fileNamed,
	given,
	jsonOption,
	modelOption,
	policiesOption,
	requireHeard,
	scheduleOption,
} from "./options.ts";
import { OutputFile, outputFile } from "./output.ts";
import { readPlan } from "./plan.ts";
import type { Define } from "./program.ts";
import type { Terminal } from "./terminal.ts";
import { UsageError, whole } from "./usage.ts";

const BASELINE = "exact";
/** Of GenEval's prompts, "a photo of a red apple" and the like. */
const TEXT_TOKENS = 8;
const PROMPTS = 120;
const DIVERSE = 6;
const SHEET_ROWS = 12;
/** By what was measured before. */
const HEEDED = ["model", "policies", "schedule", "prompts", "besides", "report", "plot", "writeTrades"];
/** Prompts of the whole list. */
const ALL = Infinity;

/** Policies side by side: quality by the judge, diversity, times and memory. What is measured stays, Ctrl-C or not. */
export const define: Define = (command, terminal) =>
	command
		.addOption(modelOption())
		.addOption(policiesOption().default(Object.values(known), "all"))
		.addOption(
			new Option("--plan <name=file.json>", "also a plan of your own; may be repeated")
				.default([] as OwnPlan[], "none")
				.argParser(ownPlan),
		)
		.addOption(scheduleOption())
		.option(
			"--prompts <number>",
			`that are judged, or "all"; 0: none (default: ${PROMPTS}; with --from: all that it has)`,
			promptCount,
		)
		.option(
			"--besides <number>",
			"to tune by: prompts that an evaluation of so many does not judge",
			count("besides", 0, 552),
			0,
		)
		.option("--seeds <number>", "pictures of each prompt", count("seeds", 1, 100), 1)
		.option("--timings <number>", "pictures that are timed, of each policy", count("timings", 0, 100), 3)
		.option(
			"--diversity <number>",
			`prompts that are drawn four times (default: ${DIVERSE})`,
			count("diversity", 0, 1000),
		)
		.option("--together <number>", "prompts at once (default: 4, on a CPU 1)", count("together", 1, 64))
		.option("--second-judge", "also ask a detector of photographs which objects are there")
		.option("--out <file.jsonl>", "what is measured; a file that is there is gone on with", given("out"))
		.option("--from <file.jsonl>", "in place of measuring: what was measured before", given("from"))
		.option("--report <file.md>", "the tables", given("report"))
		.option("--plot <file.svg>", "score against speed", given("plot"))
		.option("--sheet <file>", "pictures side by side", fileNamed("sheet", ".png", ".webp", ".jpg", ".jpeg"))
		.option("--write-trades", `put scores and speeds into the model's ${POLICIES_FILE}`)
		.addOption(jsonOption())
		.action(async (options) => {
			requireHeard(command, { alone: { from: HEEDED } });
			const report = await outputFile("--report", options.report);
			const plot = await outputFile("--plot", options.plot);
			const sheet = await outputFile("--sheet", options.sheet);
			await outputFile("--out", options.out);
			// Judged and timed is what is written: what is not kept anywhere would be measured for nothing.
			for (const option of ["prompts", "timings"] as const)
				if (options.writeTrades && options.from === undefined && options.out === undefined && options[option] === 0)
					throw new UsageError(`--write-trades takes scores and times: leave --${option} 0 out.`);
			const traded = options.writeTrades ? await tradedFolder(options.model, options.schedule, terminal) : undefined;

			const records =
				options.from === undefined
					? await measure(options, sheet, terminal)
					: Records.read(options.from, await judgedOf(options));
			const { head } = records;
			const some = options.from !== undefined && command.getOptionValueSource("policies") === "cli";
			const summaries = summarise(records).filter(
				({ policy }) => !some || options.policies.some(({ name }) => name === policy),
			);
			const text = markdownOf(head, summaries);
			terminal.print(text);
			terminal.result({ ...head, policies: summaries });
			await report?.write(text);
			const points = summaries.filter((summary): summary is Point => summary.quality !== null);
			const prompts = Math.min(...points.map(({ quality }) => quality.prompts));
			await plot?.write(
				await speedAgainstQuality(
					`${head.model}: score against speed`,
					points.length === 0 ? "nothing was judged" : `${prompts} prompts; ${head.adapter}`,
					points,
				),
			);
			if (traded) {
				if (traded.digest !== head.digest || head.schedule !== traded.info.defaultSchedule) {
					throw new UsageError(
						`These results are of ${head.model} (${head.digest}), schedule ${head.schedule}: ` +
							"give that model with --model; trades are of its default schedule.",
					);
				}
				const path = join(traded.dir, POLICIES_FILE);
				const trades = tradesOf(
					summaries.filter(({ policy }) => findPolicy(policy)),
					head.adapter,
				);
				await writeTrades(path, traded.digest, trades);
				terminal.say(`The trades are in ${path}.`);
			}
		});

/** Where the trades go, once it is sure that they can. */
async function tradedFolder(model: string, schedule: string | undefined, terminal: Terminal): Promise<ModelFolder> {
	if (isUrl(model)) throw new UsageError("--write-trades writes beside a manifest: give --model a folder, not a URL.");
	const folder = await openFolder(model, terminal);
	const { defaultSchedule } = folder.info;
	if (schedule !== undefined && schedule !== defaultSchedule)
		throw new UsageError(`Trades are of the model's default schedule, ${defaultSchedule}; leave --schedule out.`);
	await OutputFile.at("--write-trades", join(folder.dir, POLICIES_FILE));
	return folder;
}

interface OwnPlan {
	name: string;
	file: string;
}

function ownPlan(text: string, before: OwnPlan[]): OwnPlan[] {
	const [, name, file] = /^([^=]{1,64})=(.+)$/.exec(text) ?? [];
	if (!name) throw new UsageError(`--plan ${text}: give NAME=FILE.json.`);
	return [...before, { name, file }];
}

const promptCount = (text: string): number => (text === "all" ? ALL : whole("prompts", text, 0, 1_000_000));

interface Wishes {
	model: string;
	policies: readonly Policy[];
	plan: readonly OwnPlan[];
	schedule?: string;
	prompts?: number;
	besides: number;
	seeds: number;
	timings: number;
	diversity?: number;
	together?: number;
	secondJudge?: true;
	out?: string;
}

/** The prompts that are judged by options as these; undefined: whichever there are. */
async function judgedOf({ prompts, besides: not }: { prompts?: number; besides: number }) {
	if (prompts === undefined && not === 0) return undefined;
	return stratified(besides(await readPrompts(), not), prompts ?? ALL);
}

async function measure(wishes: Wishes, sheet: OutputFile | undefined, terminal: Terminal): Promise<Records> {
	const all = besides(await readPrompts(), wishes.besides);
	const some = (option: "prompts" | "diversity", usual: number) => {
		const wanted = wishes[option];
		if (wanted !== undefined && wanted !== ALL && wanted > all.length)
			throw new UsageError(`--${option} ${wanted} is more than the ${all.length} prompts that there are.`);
		return stratified(all, Math.min(wanted ?? usual, all.length));
	};
	const { seeds, schedule } = wishes;
	const prompts = some("prompts", PROMPTS);
	const timed = stratified(all, wishes.timings);
	const diverse = some("diversity", DIVERSE);
	const folder = await openFolder(wishes.model, terminal);
	const { id, digest, classes } = folder.info;
	if (classes !== undefined)
		throw new UsageError(`${id} draws classes; GenEval's prompts need a model that draws text.`);
	requireDrawn(folder, [...prompts, ...timed, ...diverse]);
	const plans = await plansOf(folder, wishes, schedule);

	const judge = await Judge.open();
	const second = wishes.secondJudge ? await SecondJudge.open() : undefined;
	const gpu = await openAdapter(terminal);
	terminal.say(`Adapter: ${gpu.facts.name}`);
	const together = wishes.together ?? (gpu.facts.software ? 1 : 4);
	const model = await openModel(gpu, folder, { slots: plans.size * together });
	await model.compile([...plans.values()]);
	const [exact] = plans.values();
	const records = Records.open(wishes.out, {
		kind: "evaluation",
		format: 1,
		model: id,
		digest,
		schedule: exact.schedule,
		judge: judge.digest,
		adapter: gpu.facts.name,
		numerics: model.numerics,
	});
	const { signal } = terminal;
	if (wishes.out !== undefined) {
		const kept = `What was measured is in ${wishes.out}; the same command goes on from there.`;
		signal.addEventListener("abort", () => terminal.say(kept));
	}
	const cost = (plan: StagePlan) => costOf(folder, plan, TEXT_TOKENS);
	for (const [policy, plan] of plans) records.policy({ kind: "policy", policy, plan, cost: cost(plan) });

	using bar = terminal.progress("{bar} {what}: {value}/{total} pictures, {eta_formatted} left");
	let made = 0;
	const progress = (done: number, more: number) => {
		made += more;
		bar.add(done);
	};
	const evaluation: Evaluation = { model, judge, second, records, plans, costOf: cost, signal, progress };
	const phase = async (what: string, pictures: number, work: () => Promise<void>) => {
		if (pictures === 0) return;
		const [begun, before] = [performance.now(), made];
		bar.start(pictures, { what });
		await work();
		bar[Symbol.dispose]();
		const seconds = (performance.now() - begun) / 1000;
		const rate = ((60 * (made - before)) / seconds).toFixed(1);
		terminal.say(`${what}: ${made - before} pictures made in ${Math.round(seconds)} s, ${rate} a minute`);
	};
	await phase("judged", prompts.length * seeds * plans.size, () =>
		evaluateQuality(evaluation, prompts, seeds, together),
	);
	await phase("diversity", diverse.length * SEEDS * plans.size, () => evaluateDiversity(evaluation, diverse));
	await phase("timed", timed.length * (plans.size - 1) * 2, () => evaluateTimes(evaluation, timed));
	if (timed.length > 0) await evaluateMemory(evaluation, gpu, folder, all[0]);
	if (sheet) {
		const rows = await sheetRows(evaluation, stratified(all, Math.min(SHEET_ROWS, prompts.length || SHEET_ROWS)));
		await sheet.write(
			await contactSheet([...plans.keys()], rows)
				.toFormat(formatOf(sheet.path))
				.toBuffer(),
		);
	}
	await judge.close();
	await second?.close();
	model.destroy();
	return records;
}

/** sharp's name of the format of a file. */
const formatOf = (path: string) => extname(path).slice(1).toLowerCase() as keyof FormatEnum;

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

/** By name, the baseline first. Throws PlanError where a policy cannot plan, or a plan cannot run on the model. */
async function plansOf(
	{ info }: ModelFolder,
	{ policies, plan: own }: Pick<Wishes, "policies" | "plan">,
	schedule: string | undefined,
): Promise<Map<string, StagePlan>> {
	const plans = new Map<string, StagePlan>();
	for (const policy of [known[BASELINE], ...policies.filter(({ name }) => name !== BASELINE)])
		plans.set(policy.name, policy.plan(info, { schedule }));
	for (const { name, file } of own) {
		if (plans.has(name))
			throw new UsageError(`--plan ${name}: there is a policy of that name already; give the plan another.`);
		const plan = await readPlan(file, info);
		if (plan.schedule !== plans.get(BASELINE)?.schedule)
			throw new UsageError(
				`${file} is a plan for schedule ${plan.schedule}; ` +
					`give --schedule ${plan.schedule} to compare it with ${BASELINE} there.`,
			);
		plans.set(name, plan);
	}
	return plans;
}
