import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { type Head, type PictureLine, type PolicyLine, Records, RecordsError } from "./records.ts";

let dir: string;
let path: string;
beforeEach(async () => {
	dir = await mkdtemp(join(tmpdir(), "firstlight-records-"));
	path = join(dir, "eval.jsonl");
});
afterEach(() => rm(dir, { recursive: true }));

const digest = `sha256:${"1".repeat(64)}`;
const head: Head = {
	kind: "evaluation",
	format: 1,
	model: "m",
	digest,
	schedule: "1:1",
	judge: "2".repeat(64),
	adapter: "an adapter",
	numerics: "n1",
};
const plan: StagePlan = {
	version: 1,
	policy: "p",
	model: digest,
	schedule: "1:1",
	steps: [{ kind: "run", stage: "semantic", rows: "both", guidance: 3, tau: 1, topK: 0, topP: 0, reduce: [] }],
};
const policy: PolicyLine = {
	kind: "policy",
	policy: "p",
	plan,
	cost: { transformerFlops: 1, decoderFlops: 1, tokenRows: 1, keyValueBytes: 1 },
};
const picture = (prompt: number): PictureLine => ({
	kind: "picture",
	policy: "p",
	prompt,
	category: "colors",
	n: 0,
	right: true,
	psnr: null,
	ssim: 1,
	codes: "0123456789abcdef",
});

it("goes on with what a file holds", async () => {
	const records = Records.open(path, head);
	records.policy(policy);
	records.append(picture(0), picture(1));
	const again = Records.open(path, head);
	again.policy(policy);
	expect(again.of("picture")).toEqual([picture(0), picture(1)]);
	expect(again.find("picture", "p", 1, 0)).toEqual(picture(1));
	expect(again.find("picture", "p", 2, 0)).toBeUndefined();
	expect((await readFile(path, "utf8")).trim().split("\n")).toHaveLength(4);
	expect(Records.read(path).head).toEqual(head);
});

it("drops a last line that was cut off, and goes on behind the others", async () => {
	Records.open(path, head).append(picture(0));
	await appendFile(path, '{"kind":"picture","pol');
	const records = Records.open(path, head);
	expect(records.of("picture")).toEqual([picture(0)]);
	records.append(picture(1));
	expect(Records.open(path, head).of("picture")).toHaveLength(2);
});

it.each([
	["model", { digest: `sha256:${"3".repeat(64)}` }],
	["judge", { judge: "4".repeat(64) }],
	["arithmetic", { numerics: "n2" }],
	["schedule", { schedule: "2:1" }],
])("refuses a file of another %s", (_, other) => {
	Records.open(path, head);
	expect(() => Records.open(path, { ...head, ...other })).toThrow(RecordsError);
	expect(() => Records.open(path, { ...head, ...other })).toThrow(new RegExp(Object.keys(other)[0]));
});

it("refuses another plan of the same name, not one more policy", () => {
	Records.open(path, head).policy(policy);
	const records = Records.open(path, head);
	records.policy({ ...policy, policy: "q" });
	expect(() =>
		records.policy({
			...policy,
			plan: { ...plan, steps: [{ ...plan.steps[0], tau: 2 } as StagePlan["steps"][number]] },
		}),
	).toThrow(/another plan for p/);
});

it("refuses lines of something else, by their number", async () => {
	await writeFile(path, `${JSON.stringify(head)}\n{"kind":"other"}\n`);
	expect(() => Records.open(path, head)).toThrow(/line 2/);
	await writeFile(path, "hello\n");
	expect(() => Records.read(path)).toThrow(/line 1/);
	await writeFile(path, "");
	expect(() => Records.read(path)).toThrow(/no line that says/);
});

it.each([
	["of one line, cut off", '{"another":"file"}'],
	["of lines that are another's", '{"kind":"evaluation"}\n{"half'],
])("leaves a file %s as it is", async (_, text) => {
	await writeFile(path, text);
	expect(() => Records.read(path)).toThrow(RecordsError);
	expect(() => Records.open(path, head)).toThrow(RecordsError);
	expect(await readFile(path, "utf8")).toBe(text);
});

it("reads what gzip packed, to which nothing can be added, and names a file that is not there", async () => {
	Records.open(path, head).append(picture(0));
	const packed = gzipSync(await readFile(path));
	await writeFile(path, packed);
	expect(Records.read(path).of("picture")).toEqual([picture(0)]);
	expect(() => Records.open(path, head)).toThrow(/compressed/);
	expect(await readFile(path)).toEqual(packed);
	expect(() => Records.read(`${path}.none`)).toThrow(/^There is no /);
});

it("looks at a file whose last line was cut off without touching it", async () => {
	Records.open(path, head).append(picture(0));
	await appendFile(path, '{"kind":"picture","pol');
	const before = await readFile(path, "utf8");
	expect(Records.read(path).of("picture")).toEqual([picture(0)]);
	expect(await readFile(path, "utf8")).toBe(before);
});

it("keeps everything in memory without a file", () => {
	const records = Records.open(undefined, head);
	records.append(picture(0));
	expect(records.of("picture")).toHaveLength(1);
});

it("reads a file's pictures of some prompts alone", () => {
	const records = Records.open(path, head);
	records.policy(policy);
	records.append(picture(0), picture(1), picture(2));
	const prompts = [0, 2].map((place) => ({ tag: "colors", include: [], prompt: "a photo", place }));
	expect(Records.read(path, prompts).of("picture")).toEqual([picture(0), picture(2)]);
	expect(Records.read(path, prompts).of("policy")).toEqual([policy]);
	expect(Records.read(path).of("picture")).toHaveLength(3);
});
