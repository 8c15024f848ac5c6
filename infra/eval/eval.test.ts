/** A small evaluation of the tiny model from end to end: real engine, real judge. */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { openModel } from "../../worker/engine/open.ts";
import type { LoadedModel } from "../../worker/engine/types.ts";
import type { ModelFolder } from "../../worker/families/folder.ts";
import { policies } from "../../worker/policies/index.ts";
import { costOf } from "./cost.ts";
import { evaluateDiversity } from "./diversity.ts";
import { Judge } from "./judge.ts";
import { readPrompts, stratified } from "./prompts.ts";
import { type Evaluation, evaluateQuality } from "./quality.ts";
import { type Head, Records } from "./records.ts";
import { SecondJudge } from "./second-judge/second-judge.ts";
import { summarise } from "./summary.ts";

let dir: string;
const gpu = await sharedGpu();
let folder: ModelFolder;
let model: LoadedModel;
let judge: Judge;
let head: Head;
beforeAll(async () => {
	dir = await mkdtemp(join(tmpdir(), "firstlight-eval-"));
	folder = await openModelFolder(findModel("tiny"));
	model = await openModel(gpu, folder, { slots: 3 });
	judge = await Judge.open();
	head = {
		kind: "evaluation",
		format: 1,
		model: "tiny",
		digest: model.info.digest,
		schedule: "1:1",
		judge: judge.digest,
		adapter: gpu.facts.name,
		numerics: model.numerics,
	};
});
afterAll(async () => {
	await judge.close();
	model.destroy();
	await rm(dir, { recursive: true });
});

const prompts = stratified(await readPrompts(), 3);
const evaluationOf = (records: Records, names: readonly string[], more: Partial<Evaluation> = {}): Evaluation => ({
	model,
	judge,
	records,
	costOf: (plan) => costOf(folder, plan, 8),
	plans: new Map(names.map((name) => [name, policies[name].plan(model.info, {})])),
	...more,
});

it("an evaluation stopped, gone on with and given one more policy has the numbers of one in a piece", async () => {
	const path = join(dir, "parts.jsonl");
	const abort = new AbortController();
	const stopped = evaluateQuality(
		evaluationOf(Records.open(path, head), ["exact", "stagevar"], {
			signal: abort.signal,
			progress: () => abort.abort(),
		}),
		prompts,
		1,
		1,
	);
	await expect(stopped).rejects.toThrow(/abort/i);
	expect(Records.open(path, head).of("picture")).toHaveLength(2);

	let done = 0;
	const progress = (_: number, made: number) => (done += made);
	await evaluateQuality(evaluationOf(Records.open(path, head), ["exact", "stagevar"], { progress }), prompts, 1, 1);
	await evaluateQuality(
		evaluationOf(Records.open(path, head), ["exact", "stagevar", "stagevar-released"]),
		prompts,
		1,
		2,
	);
	expect(done).toBe(4);

	const whole = Records.open(undefined, head);
	await evaluateQuality(evaluationOf(whole, ["exact", "stagevar", "stagevar-released"]), prompts, 1, 2);
	const sorted = (records: Records) =>
		records.of("picture").sort((a, b) => a.policy.localeCompare(b.policy) || a.prompt - b.prompt);
	expect(sorted(Records.open(path, head))).toEqual(sorted(whole));
	expect(sorted(whole)).toHaveLength(9);
	expect(
		whole.of("picture").every(({ policy, psnr, ssim }) => (psnr === null) === (policy === "exact") && ssim <= 1),
	).toBe(true);
});

it("refuses to add to pictures that were made otherwise", async () => {
	const records = Records.open(undefined, head);
	records.append({
		kind: "picture",
		policy: "exact",
		prompt: prompts[0].place,
		category: prompts[0].tag,
		n: 0,
		right: true,
		psnr: null,
		ssim: 1,
		codes: "0".repeat(16),
	});
	await expect(
		evaluateQuality(evaluationOf(records, ["exact", "stagevar"]), prompts.slice(0, 1), 1, 1),
	).rejects.toThrow(/different arithmetic/);
});

it("finds a prompt's seeds apart from each other", async () => {
	const records = Records.open(undefined, head);
	await evaluateDiversity(evaluationOf(records, ["exact", "stagevar-released"]), prompts.slice(0, 1));
	const lines = records.of("diversity");
	expect(lines.map(({ policy, prompt }) => [policy, prompt])).toEqual([
		["exact", prompts[0].place],
		["stagevar-released", prompts[0].place],
	]);
	for (const { distance } of lines) expect(distance).toBeGreaterThan(0.01);
});

it("a policy that decides can be added to records that have the baseline's diversity", async () => {
	const records = Records.open(undefined, head);
	await evaluateDiversity(evaluationOf(records, ["exact"]), prompts.slice(0, 1));
	await evaluateDiversity(evaluationOf(records, ["exact", "skipvar"]), prompts.slice(0, 1));
	expect(records.of("diversity").map(({ policy }) => policy)).toEqual(["exact", "skipvar"]);
});

it("the command writes records, report, plot and sheet; a report needs no adapter afterwards", {
	timeout: 300_000,
}, async () => {
	const [out, report, plot, sheet] = ["eval.jsonl", "report.md", "plot.svg", "sheet.png"].map((file) =>
		join(dir, file),
	);
	const measured = await firstlight(
		"--model",
		"tiny",
		"--policies",
		"stagevar-released",
		"--prompts",
		"2",
		"--timings",
		"1",
		"--diversity",
		"0",
		"--out",
		out,
		"--report",
		report,
		"--plot",
		plot,
		"--sheet",
		sheet,
	);
	expect(measured).toMatchObject({ code: 0 });
	const text = await readFile(report, "utf8");
	expect(text).toMatch(/^\| stagevar-released \|.* \d+\.\d\dx \| \d+\.\d\dx \| (\d+ %)? \|$/m);
	expect(measured.stdout.trim()).toBe(text.trim());
	expect((await sharp(sheet).metadata()).width).toBeGreaterThan(2 * 64);
	expect(await readFile(plot, "utf8")).toContain("stagevar-released");
	expect(
		Records.read(out)
			.of("memory")
			.map(({ bytes }) => bytes > 2 ** 20),
	).toEqual([true, true]);
	expect((await firstlight("--from", out)).stdout).toBe(measured.stdout);
	expect(await firstlight("--policies", "none")).toMatchObject({
		code: 2,
		stderr: expect.stringContaining("There is no policy none"),
	});
});

async function firstlight(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
	const child = spawn(process.execPath, [join(import.meta.dirname, "..", "cli", "cli.ts"), "eval", ...args]);
	const text = { stdout: "", stderr: "" };
	for (const name of ["stdout", "stderr"] as const) child[name].on("data", (data) => (text[name] += data));
	const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
	return { code, ...text };
}

it("the second judge is asked for what an earlier evaluation lacks, of prompts whose objects it can tell", async () => {
	const second = await SecondJudge.open();
	onTestFinished(() => second.close());
	const all = await readPrompts();
	const two = ["a photo of a bicycle", "a photo of a toothbrush"].map(
		(text) => all.find(({ prompt }) => prompt === text) as (typeof all)[number],
	);
	const path = join(dir, "second.jsonl");
	const made: number[] = [];
	const evaluate = async (more: Partial<Evaluation>) => {
		const evaluation = evaluationOf(Records.open(path, head), ["exact", "stagevar"], {
			progress: (_, pictures) => made.push(pictures),
			...more,
		});
		await evaluateQuality(evaluation, two, 1, 1);
	};
	await evaluate({});
	await evaluate({ second });
	await evaluate({ second });
	expect(made).toEqual([2, 2, 2, 0, 0, 0]);
	const lines = Records.open(path, head).of("picture");
	expect(lines.map(({ prompt, present }) => [prompt, Object.keys(present ?? {})])).toEqual(
		two.flatMap(({ place, prompt }) =>
			Array.from({ length: 2 }, () => [place, /bicycle/.test(prompt) ? ["bicycle"] : []]),
		),
	);
	const records = Records.open(path, head);
	const { plans, costOf } = evaluationOf(records, ["exact", "stagevar"]);
	for (const [policy, plan] of plans) records.policy({ kind: "policy", policy, plan, cost: costOf(plan) });
	for (const { quality } of summarise(records)) expect(quality?.presence).toMatchObject({ objects: 1 });
});
