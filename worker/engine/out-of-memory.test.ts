/**
 * Memory that runs out in earnest: a process of its own, whose address space is limited once its software device is
 * open.
 */
import { execFile, execFileSync } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const here = (file: string) => JSON.stringify(new URL(`../../${file}`, import.meta.url).href);
const limits = (() => {
	try {
		return process.platform === "linux" && execFileSync("prlimit", ["--version"]).length > 0;
	} catch {
		return false;
	}
})();

/** Runs `body` with `gpu` open and `megabytes` left; its `say` is what comes back. */
async function starved(megabytes: number, body: string): Promise<string[]> {
	const code = `
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { openGpu } from ${here("kernels/gpu/native/open.ts")};
const gpu = await openGpu();
// SwiftShader makes what it draws with at the first submission, and dies where there is no memory for that.
await gpu.read([gpu.tensor("first", [4])]);
const leave = (megabytes) => {
	const used = Number(/VmSize:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
	execFileSync("prlimit", ["--pid", String(process.pid), "--as=" + (used + megabytes * 2 ** 20)]);
};
const say = (line) => process.stdout.write("said " + line + "\\n");
${body.replace("LEAVE", `leave(${megabytes})`)}
process.exit(0);`;
	// A thread that allocates for the first time would take an arena of its own: 64 MiB of addresses, now or later.
	const env = { ...process.env, MALLOC_ARENA_MAX: "1" };
	const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", code], { env });
	return stdout.split("\n").flatMap((line) => (line.startsWith("said ") ? [line.slice(5)] : []));
}

test.runIf(limits)(
	"a tensor there is no memory for is named at the next wait, and the device is given up",
	async () => {
		const said = await starved(
			400,
			`
LEAVE;
say(await gpu.room(50 * 2 ** 20));
say(await gpu.room(2 * 2 ** 30));
const held = gpu.tensor("small", [2 ** 20]);
await gpu.allocated();
gpu.tensor("a large one", [2 ** 27]);
const read = gpu.read([{ ...held, bytes: 16 }]);
const outcome = (wait) => wait.then(() => "none", (error) => error.name + ": " + error.message);
for (const wait of [gpu.allocated(), read]) say(await outcome(wait));
say(await gpu.lost);
try { gpu.pass("more"); } catch (error) { say(error.name); }`,
		);
		const message = expect.stringMatching(
			/^OutOfMemoryError: .* no device memory for a large one, 536870912 bytes beside the \d+ in use \(SwiftShader/,
		);
		expect(said).toEqual(["true", "false", message, message, expect.stringContaining("destroyed"), "OutOfMemoryError"]);
	},
);

test.runIf(limits)("what was only tried, and what was freed, is there for the next", async () => {
	const said = await starved(
		500,
		`
LEAVE;
say(await gpu.room(300 * 2 ** 20));
say(await gpu.room(300 * 2 ** 20));
const held = gpu.tensor("held", [75 * 2 ** 20]);
await gpu.allocated();
gpu.free(held);
say(await gpu.room(300 * 2 ** 20));`,
	);
	expect(said).toEqual(["true", "true", "true"]);
});

test.runIf(limits)("a model that does not fit is not begun, and the error says what would take less", async () => {
	const [said, halves] = await starved(
		700,
		`
import { plannedModel } from ${here("worker/families/planned.ts")};
import { modelInfo } from ${here("worker/families/model.ts")};
import { openModel } from ${here("worker/engine/open.ts")};
const model = plannedModel("infinity", "2b");
const tensors = () => { throw new Error("begun"); };
const folder = { ...model, dir: "", digest: "", info: modelInfo(model, ""), tokenizer: null, tensors };
LEAVE;
say(await openModel(gpu, folder, { slots: 4 }).then(() => "none", (error) => error.name + ": " + error.message));
say(gpu.device.features.has("shader-f16"));`,
	);
	const [now, lighter] = said.split(" It would take, with ");
	expect(now).toMatch(
		/^OutOfMemoryError: There is not enough memory on .*infinity-2b with 4 slot\(s\) takes about [\d.]+ GiB: /,
	);
	expect(now).toMatch(/: weights 8\.\d\d GiB, keys and values /);
	const gib = String.raw`[\d.]+ GiB`;
	expect(lighter).toMatch(
		new RegExp(
			`^weights .*weights imported as int4 ${gib}; .*1 slot ${gib}; ` +
				`keys and values as int4 ${gib}; all of it ${gib}\\.$`,
		),
	);
	const f16 = ["weights", "keys and values"].map((what) => lighter.includes(`${what} as f16 `));
	expect(f16).toEqual([halves, halves].map((has) => has === "true"));
});

test.runIf(limits)("a picture there is no memory for is refused while another runs, which goes on", async () => {
	// The process itself takes some tens of MiB more or less as it goes: half of what the large picture would take.
	const [first, refused, running, smaller] = await starved(
		150,
		`
import { policies } from ${here("worker/policies/index.ts")};
import { openModel } from ${here("worker/engine/open.ts")};
import { features, unevenModel } from ${here("worker/engine/testing.ts")};
const model = await openModel(gpu, unevenModel(128, { width: 512, heads: 8, ffn: 512 }), { slots: 2 });
const plan = (schedule) => policies.exact.plan(model.info, { schedule });
const ask = (schedule, seed) =>
	model.generate({ plan: plan(schedule), seed, draws: features(), previews: "none" });
const codes = async (results) => {
	const all = [];
	for await (const result of results) if (result.kind === "scale") all.push(Buffer.from(result.codes).toString("hex"));
	return all.join();
};
const alone = await codes(ask("small", 1));
const running = ask("small", 1);
const { value } = await running.next();
LEAVE;
say(value.kind);
say(await codes(ask("large", 2)).then(() => "none", (error) => error.name + ": " + error.message));
say(await codes(running).then((rest) => alone.endsWith(rest) && rest.length > 0, String));
say(await codes(ask("small", 1)).then((all) => all === alone, String));`,
	);
	expect(first).toBe("scale");
	expect(refused).toMatch(/^OutOfMemoryError: .*uneven with 2 slot\(s\) takes about/);
	expect([running, smaller]).toEqual(["true", "true"]);
});
