import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, it } from "vitest";
import { readMetadata } from "../../worker/gpu/encode.ts";
import { StagePlan } from "../../worker/protocol/plan.ts";
import { program } from "./program.ts";
import { Terminal } from "./terminal.ts";

const dir = await mkdtemp(join(tmpdir(), "plan-"));
afterAll(() => rm(dir, { recursive: true }));
const run = promisify(execFile);
const firstlight = (...args: string[]) => run(process.execPath, [join(import.meta.dirname, "cli.ts"), ...args]);
/** What is refused before any work needs no process of its own. */
const refused = (...args: string[]) =>
	program(new Terminal(new AbortController().signal)).parseAsync(args, { from: "user" });
const file = async (name: string, text: string) => {
	await writeFile(join(dir, name), text);
	return join(dir, name);
};

it("a plan is printed, changed and run", async () => {
	const { stdout } = await firstlight("plan", "--model", "tiny", "--policy", "stagevar");
	const plan = StagePlan.parse(JSON.parse(stdout));
	expect(plan).toMatchObject({ policy: "stagevar", schedule: "1:1" });
	expect(stdout.split("\n").filter((line) => line.includes('"kind"'))).toHaveLength(plan.steps.length);
	const own = [...plan.steps.slice(0, -1), { kind: "skip" }];
	const picture = join(dir, "own.png");
	await firstlight(
		"generate",
		"a photo of a cat",
		"--model",
		"tiny",
		"--seed",
		"7",
		"--plan",
		await file("own.json", JSON.stringify({ ...plan, steps: own })),
		"--out",
		picture,
	);
	expect(await readMetadata(await readFile(picture))).toMatchObject({
		seed: 7,
		plan: { ...plan, policy: "custom", steps: own },
	});
});

it.each<[string, string[], RegExp]>([
	["what is no JSON", ["[{"], /bad\.json is not JSON/],
	["a plan for more scales", ["[]"], /The plan cannot be executed on model tiny:\n- steps: /],
	["a plan beside a policy", ["[]", "--policy", "exact"], /--plan stands in place of a policy/],
	["too much", [" ".repeat(1_100_000)], /at most 1048576/],
])("%s is refused", async (_, [text, ...more], message) => {
	const plan = await file("bad.json", text);
	await expect(refused("generate", "a cat", "--model", "tiny", "--plan", plan, ...more)).rejects.toThrow(message);
});

it("an unknown policy or schedule is refused with what there is", async () => {
	await expect(refused("plan", "--model", "tiny", "--policy", "fastest")).rejects.toThrow(
		/no policy fastest. There are: exact,/,
	);
	await expect(refused("plan", "--model", "tiny", "--schedule", "9:1")).rejects.toThrow(/has no schedule "9:1"/);
});
