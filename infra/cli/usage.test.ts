/** What the command line refuses, and how: one message, one hint, before any work. In this process. */
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "@commander-js/extra-typings";
import { afterAll, describe, expect, it, vi } from "vitest";
import { PlanError } from "../../worker/policies/index.ts";
import { checkEnvironment } from "./environment.ts";
import { failureOf } from "./failure.ts";
import { COMMANDS, program } from "./program.ts";
import { Terminal } from "./terminal.ts";
import { didYouMean } from "./usage.ts";

const dir = await mkdtemp(join(tmpdir(), "usage-"));
const file = join(dir, "file");
await writeFile(file, "");
const oneLine = join(dir, "prompts.txt");
await writeFile(oneLine, "a cat\n");
afterAll(() => rm(dir, { recursive: true }));
const terminal = new Terminal(new AbortController().signal);

/** How a command line fails. */
async function failure(...args: string[]) {
	try {
		await program(terminal).parseAsync(args, { from: "user" });
	} catch (error) {
		return failureOf(error, `firstlight ${args[0]}`);
	}
	throw new Error(`${args.join(" ")} did not fail.`);
}

describe("the help of every command", () => {
	it.each(Object.keys(COMMANDS))("%s says what each option is, and its default", async (name) => {
		const command = new Command(name);
		(await COMMANDS[name].load()).define(command, terminal);
		const help = command.helpInformation().replace(/\s+/g, " ");
		for (const { flags, description, defaultValue, defaultValueDescription } of command
			.createHelp()
			.visibleOptions(command)) {
			expect(description).not.toBe("");
			expect(help).toContain(flags);
			if (defaultValue !== undefined)
				expect(help).toContain(`default: ${defaultValueDescription ?? JSON.stringify(defaultValue)}`);
		}
	});

	it("lists every command", () => {
		const help = program(terminal).helpInformation();
		for (const [name, { about }] of Object.entries(COMMANDS)) {
			expect(help).toMatch(new RegExp(`\n  ${name} +`));
			expect(about.length).toBeLessThanOrEqual(70);
		}
	});
});

describe("a usage error is one message and one hint", () => {
	const help = (command: string) => `firstlight ${command} --help says what it takes.`;
	it.each<[args: string[], message: RegExp, hint: string]>([
		[["genrate", "x"], /^Unknown command 'genrate'\.$/, "Did you mean generate?"],
		[["generate", "x", "--sede", "7"], /^Unknown option '--sede'\.$/, "Did you mean --seed?"],
		[["generate", "x", "--model", "tinny"], /^There is no model "tinny"\./, "Did you mean tiny?"],
		[["plan", "--policy", "stagvar"], /^There is no policy stagvar\. There are: exact,/, "Did you mean stagevar?"],
		[["eval", "--policies", "exact,fastvra"], /^There is no policy fastvra\./, "Did you mean fastvar?"],
		[["inspect", "--family", "infinty", "--size", "2b"], /^--family must be one of/, "Did you mean infinity?"],
		[["inspect", "--family", "infinity", "--size", "3b"], /^--size must be one of 125m, 2b/, "Did you mean 2b?"],
		[["verify", "x", "--dtype", "fp16"], /^--dtype must be one of f32, f16, not fp16\.$/, "Did you mean f16?"],
		[["generate"], /^generate takes one prompt, in quotes, or --class NUMBER\.$/, help("generate")],
		[["generate", "x", "--class", "1"], /^generate takes one prompt/, help("generate")],
		[["generate", " "], /^The prompt is empty\.$/, "Say in a few words what to draw."],
		[["generate", "x".repeat(2001)], /^The prompt has 2001 characters/, "Say it shorter."],
		[["generate", "🍎".repeat(2001)], /^The prompt has 2001 characters/, "Say it shorter."],
		[["generate", "a", "cat"], /^Too many arguments for 'generate'/, "Put an argument with spaces into quotes."],
		[
			["generate", "x", "--seed", "-1"],
			/^--seed must be a whole number from 0 to 4294967295, not -1\.$/,
			help("generate"),
		],
		[["generate", "x", "--seed", "NaN"], /^--seed must be .*, not NaN\.$/, help("generate")],
		[["generate", "x", "--quality", "101"], /^--quality must be a whole number from 1 to 100/, help("generate")],
		[["generate", "x", "--out"], /^Option '--out <file>' argument missing\.$/, help("generate")],
		[["generate", "x", "--out", "--seed", "7"], /^--out needs a value; it got --seed\.$/, help("generate")],
		[["generate", "x", "--out", "x.gif"], /^--out must end in \.png/, help("generate")],
		[["generate", "x", "--schedule", ""], /^--schedule needs a value; it got an empty one\.$/, help("generate")],
		[["verify"], /^Missing required argument 'folders'\.$/, help("verify")],
		[["import", "tiny"], /^Required option '--out <folder>' not specified\.$/, help("import")],
		[["import", "x.pth", "--out", "x", "--family", "var"], /^--family var needs --size: d16,/, help("import")],
		[["eval", "--prompts", "many"], /^--prompts must be a whole number/, help("eval")],
		[["eval", "--prompts", "554"], /^--prompts 554 is more than the 553 prompts that there are\.$/, help("eval")],
		[["eval", "--write-trades", "--timings", "0"], /^--write-trades takes scores and times/, help("eval")],
		[["eval", "--write-trades", "--prompts", "0"], /: leave --prompts 0 out\.$/, help("eval")],
		[["eval", "--from", "x", "--out", "y"], /^--out would say nothing beside --from: leave it out\.$/, help("eval")],
		[["eval", "--from", "x", "--seeds", "2"], /^--seeds would say nothing beside --from/, help("eval")],
		[["calibrate", "--judge", "--prompts", "x"], /^--judge knows what GenEval's prompts ask/, help("calibrate")],
		[["calibrate", "--model", "http://localhost/x"], /give --out DIR/, help("calibrate")],
		[["bench", "--max-seconds", "0"], /^--max-seconds must be a number above 0, not 0\.$/, help("bench")],
		[["bench", "--together", "1,x"], /^--together must be a whole number/, help("bench")],
		[["bench", "--scales", "4..1"], /^--scales 4\.\.1: give the first and the last/, help("bench")],
		[
			["bench", "--shape", "infinity-2b", "--scales", "0..13"],
			/^--scales 0\.\.13: infinity-2b has 0\.\.12/,
			help("bench"),
		],
		[["bench", "--rows", "("], /^--rows \( is no regular expression/, help("bench")],
		[["bench", "--svg", "x.svg", "--together", "2"], /^--svg draws times by scale/, help("bench")],
		[["bench", "--host"], /^--host says nothing by itself: give --profile beside it\.$/, help("bench")],
		[["bench", "--dtype", "f16"], /: give --shape or --profile or --loading beside it\.$/, help("bench")],
		[["bench", "--max-seconds", "9"], /^--max-seconds says .*: give --shape or --peers beside it\.$/, help("bench")],
		[["bench", "--rows", "x", "--pictures", "1"], /^--rows says nothing by itself: give --peers/, help("bench")],
		[["bench", "--profile", "--peers"], /^--peers would say nothing beside --profile: leave it out\.$/, help("bench")],
		[["bench", "--growth", "--compile", "--peers"], /^--peers and --compile would .* beside --growth/, help("bench")],
		[["bench", "--loading", "--decoder", "8"], /^--loading would say nothing beside --decoder/, help("bench")],
		[["bench", "--compile", "--pictures", "9"], /^--pictures would say nothing beside --compile/, help("bench")],
		[["bench-import", "--dry", "--out", "there"], /^--out: with --dry there is no model to keep\./, "Leave one out."],
		[["bench", "--compile", "--svg", "times.svg"], /^--svg would say nothing beside --compile/, help("bench")],
		[["bench", "--growth", "--shape", "infinity-2b"], /^--shape would say nothing beside --growth/, help("bench")],
		[["bench", "--shape", "infinity-2b", "--blocks", "33"], /^--blocks 33: infinity-2b has 32\.$/, help("bench")],
		[
			["bench", "--precision", "--model", "http://localhost/x"],
			/^--precision takes a model of this machine/,
			"Give its folder.",
		],
		[
			["load", "--rate", "1", "--mix", file, "--transport", "raw", "--model", "tiny"],
			/^--model and --transport would be the mix's: leave it out beside --mix\.$/,
			help("load"),
		],
		[["load", "--rate", "1", "--think", "5"], /^--think says nothing by itself: give --concurrency/, help("load")],
		[["load", "--rate", "1", "--burstiness", "2"], /^--burstiness says .*: give --arrivals beside/, help("load")],
		[
			["load", "--rate", "1", "--arrivals", "poisson", "--burstiness", "2"],
			/^--burstiness is of gamma: give --arrivals gamma beside it\.$/,
			help("load"),
		],
		[["load", "--concurrency", "2", "--to", "5"], /^--to says nothing by itself: give --rate beside/, help("load")],
		[["load", "--compare", file, file, "--rate", "1"], /^--rate would say nothing beside --compare/, help("load")],
		[["keys", "list", "--days", "3"], /^keys list makes no new key: leave --days out\.$/, help("keys")],
		[["import", "tiny", "--out", dir, "--group", "64"], /^--group is of whole numbers: give --dtype/, help("import")],
		[["publish", "tiny", "--bucket", "another"], /^--bucket says .*: give --remote beside it\.$/, help("publish")],
		[["simulate", "--sweep", "load", "--runs", "2"], /^Option '--sweep <sweep>' cannot be used/, help("simulate")],
		[
			["simulate", "--like", dir, "--policies", "exact"],
			/^Option '--like <folder>' cannot be used with option '--policies/,
			help("simulate"),
		],
		[["calibrate", "--count", "2", "--prompts", oneLine], /^--count 2 is more than the 1 prompts/, help("calibrate")],
		[
			["bundle", "tiny", "tiny", "--out", join(dir, "bundle")],
			/^Two models are named tiny\.$/,
			"Give folders of different names; each keeps its own.",
		],
		[["soak", "tiny", "3"], /^3 pictures are too few: at least two by every policy/, help("soak")],
		[
			["publish", "tiny", "--bucket", "X"],
			/^--bucket X is no bucket's name\.$/,
			"Small letters, digits and dashes, 3 to 63 of them.",
		],
	])("%j", async (args, message, hint) => {
		const { text, exitCode } = await failure(...args);
		expect(exitCode).toBe(2);
		const [first, second, ...more] = text.split("\n");
		expect(first).toMatch(message);
		expect(second).toBe(hint);
		expect(more).toEqual([]);
	});

	it.each([
		[{ FIRSTLIGHT_CACHE_GB: "lots" }, /^FIRSTLIGHT_CACHE_GB must be a number of gigabytes, not lots\.$/],
		[{ EDGE_URL: "localhost" }, /^EDGE_URL must be an http or https address, not localhost\.$/],
	])("in the environment: %j", (env, message) => {
		expect(() => checkEnvironment(env)).toThrow(message);
	});

	it("nothing is suggested where nothing is near", () => {
		expect(didYouMean("xyzzy", Object.keys(COMMANDS))).toBeUndefined();
		expect(didYouMean("EXACT", ["exact"])).toBe("Did you mean exact?");
	});
});

describe("where results go is tried before any work", () => {
	// Nobody is ever asked there: a command that got as far as the model would say so.
	const model = ["--model", "http://127.0.0.1:9/model"];
	/** Every option that names an output, with a command line that goes on after it. */
	const OUTPUTS: Record<string, (place: string) => string[]> = {
		"generate --out": (place) => ["generate", "x", ...model, "--out", join(place, "x.png")],
		"generate --scales-dir": (place) => [
			...["generate", "x", ...model, "--out", join(dir, "x.png")],
			...["--scales-dir", join(place, "x")],
		],
		"eval --out": (place) => ["eval", ...model, "--out", join(place, "x.jsonl")],
		"eval --report": (place) => ["eval", ...model, "--report", join(place, "x.md")],
		"eval --plot": (place) => ["eval", ...model, "--plot", join(place, "x.svg")],
		"eval --sheet": (place) => ["eval", ...model, "--sheet", join(place, "x.png")],
		"calibrate --out": (place) => ["calibrate", ...model, "--out", join(place, "x")],
		"import --out": (place) => [
			...["import", "nothing.pth", "--family", "var", "--size", "d16"],
			...["--out", join(place, "x")],
		],
		"bench --json": (place) => ["bench", ...model, "--json", join(place, "x.json")],
		"bench --svg": (place) => ["bench", ...model, "--svg", join(place, "x.svg")],
		"bundle --out": (place) => ["bundle", "--out", join(place, "x")],
		"bench-import --out": (place) => ["bench-import", "--out", join(place, "x")],
		"load --out": (place) => ["load", "http://127.0.0.1:9", "--rate", "1", "--out", join(place, "x")],
		"simulate --out": (place) => ["simulate", ...model, "--sweep", "load", "--out", join(place, "x.html")],
	};
	/** Those that would go on to their work, for want of a model that is not there. */
	const WORKING = ["bundle --out", "bench-import --out", "load --out"];
	/** What is read, and what a command says to itself. */
	const OTHERS = [
		"generate --plan",
		"eval --plan",
		"eval --from",
		"import --tokenizer",
		"import --text-encoder",
		"calibrate --prompts",
		"bench-import --make",
		"load --mix",
		"load --compare",
		"simulate --like",
	];

	it("every option that takes a file or a folder is known as an output, or is none", async () => {
		const found: string[] = [];
		for (const [name, { load }] of Object.entries(COMMANDS)) {
			const command = new Command(name);
			(await load()).define(command, terminal);
			for (const { flags, long } of command.options)
				if (/[<[][^>\]]*(file|folder|dir|path)/.test(flags)) found.push(`${name} ${long}`);
		}
		expect(found.sort()).toEqual([...Object.keys(OUTPUTS), ...OTHERS].sort());
	});

	it.each(Object.entries(OUTPUTS))("%s through a file is refused", async (name, args) => {
		const { text, exitCode } = await failure(...args(file));
		expect(exitCode).toBe(2);
		expect(text).toMatch(/ cannot be written: it leads through a file that is no folder\.\nChoose another place\.$/);
		expect(text).toContain(name.split(" ")[1]);
	});

	it.each(Object.entries(OUTPUTS).filter(([name]) => !WORKING.includes(name)))(
		"%s makes the folders to it",
		async (name, args) => {
			const place = join(dir, name.replaceAll(" ", ""), "deep");
			const { text } = await failure(...args(place));
			expect(text).toMatch(/127\.0\.0\.1:9|nothing\.pth/);
			expect(existsSync(place)).toBe(true);
		},
	);

	it.each([
		["tune", ["tune", "--model", "tiny"], "FIRSTLIGHT_CACHE"],
		["publish", ["publish", "tiny"], "STATE_DIR"],
	])("%s where its folder cannot be", async (_, args, variable) => {
		vi.stubEnv(variable, join(file, "deep"));
		expect((await failure(...args)).text).toMatch(/ cannot be written: it leads through a file/);
		vi.unstubAllEnvs();
	});

	it.each<[string, string[], RegExp]>([
		[
			"a folder for a file",
			["eval", ...model, "--report", dir],
			/^--report .* is a folder\.\nGive a file's name in it\.$/,
		],
		["a folder with something in it", ["bench-import", "--out", dir], /^--out .* is not empty\.\nGive a new folder\.$/],
		["such a one for a bundle", ["bundle", "--out", dir], /^--out .* is not empty\.\nGive a new folder\.$/],
		["a file for a folder", ["calibrate", ...model, "--out", file], /^--out .* is a file\.\nGive a folder's name\.$/],
		[
			"a system's folder",
			["eval", ...model, "--out", "/proc/none/x"],
			/^--out .* cannot be written: its folder cannot/,
		],
		["another endless name", ["eval", ...model, "--plot", join(dir, "x".repeat(300))], /the name is too long/],
	])("%s", async (_, args, message) => {
		expect((await failure(...args)).text).toMatch(message);
	});
});

describe("a failure is told without a stack or a class", () => {
	it("what is expected says itself", () => {
		expect(failureOf(new PlanError("No such plan."), "")).toEqual({ text: "No such plan.", exitCode: 1 });
	});

	it("a system call's failure is said in words", async () => {
		const args = ["generate", "x", "--model", "tiny", "--out", join(dir, "x.png"), "--plan", join(dir, "none.json")];
		expect(await failure(...args)).toEqual({ text: `There is no ${join(dir, "none.json")}.`, exitCode: 1 });
	});

	it.each(["http://", "https://a b/models/x"])("an address that is none: %s", async (address) => {
		const hint = "Give the address of a model folder, as https://host/models/name.";
		const text = `${address} is not an http or https URL. ${hint}`;
		expect(await failure("inspect", address)).toEqual({ text, exitCode: 1 });
		vi.stubEnv("EDGE_URL", "http://127.0.0.1:9");
		expect(await failure("inspect", address)).toEqual({ text, exitCode: 1 });
		vi.unstubAllEnvs();
	});

	it("an edge that is not there is no fault of ours", async () => {
		vi.stubEnv("ADMIN_SECRET", "admin-secret-0123456789");
		const { text, exitCode } = await failure("keys", "list", "--url", "http://127.0.0.1:9");
		vi.unstubAllEnvs();
		expect(exitCode).toBe(1);
		expect(text).toMatch(/^No connection.*: .+\. See that it runs, and that its address is right\.$/);
	});

	it("a fault of ours says how to see where it is", () => {
		const { text, exitCode } = failureOf(new TypeError("x is undefined"), "");
		expect(exitCode).toBe(70);
		expect(text).toBe("x is undefined\nThis is a fault of Firstlight's. FIRSTLIGHT_DEBUG=1 shows where it happened.");
	});
});
