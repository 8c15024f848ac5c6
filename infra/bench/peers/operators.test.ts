import { expect, test } from "vitest";
import { sharedGpu } from "../../../kernels/gpu/native/testing.ts";
import { Comparison } from "./compare.ts";
import { type Contender, type Peer, relativeError } from "./contender.ts";
import { firstlight } from "./firstlight.ts";
import { operatorPeer, PROVIDERS } from "./onnxruntime.ts";
import { flopsOf, type Workload } from "./workloads.ts";

const SMALL: Workload[] = [
	{ name: "matmul", op: "matmul", m: 6, k: 32, n: 24, links: 1 },
	{ name: "chain of an even number", op: "matmul", m: 6, k: 32, n: 24, links: 4 },
	{ name: "chain of an odd number", op: "matmul", m: 6, k: 32, n: 24, links: 3 },
	{ name: "attention", op: "attention", rows: 2, tokens: 5, keys: 9, heads: 3, headDim: 8 },
	{ name: "conv", op: "conv3x3", height: 6, width: 5, input: 8, output: 12 },
];
const gpu = await sharedGpu();

test.each(SMALL)("$name: ONNX Runtime computes what the kernels compute, in every way it is asked", async (work) => {
	const ours = firstlight(gpu, work);
	const expected = await ours.result();
	await ours.run();
	let ways = 0;
	for await (const { contender } of operatorPeer(PROVIDERS.find(({ cpu }) => cpu)!).open(work)) {
		expect(relativeError(await contender.result(), expected)).toBeLessThan(1e-5);
		await contender.run();
		await contender.close();
		ways++;
	}
	expect(ways).toBe(work.op === "matmul" ? 1 : 2);
	await ours.close();
});

/** Contenders of known time and result; the rows' rules are what is tested. */
const fake = (milliseconds: number, result: number[], closed: string[] = [], name = ""): Contender => ({
	run: async () => milliseconds,
	result: async () => Float32Array.from(result),
	close: async () => void closed.push(name),
});
const peer = (name: string, ways: Record<string, Contender>): Peer<null> => ({
	name,
	async *open() {
		for (const [how, contender] of Object.entries(ways)) yield { how, contender };
	},
});
const limits = () => ({ run: 10, row: 0.2, deadline: performance.now() + 60_000 });

test("the fastest of a peer's right ways counts, a wrong one is named and left out, all are closed", async () => {
	const closed: string[] = [];
	const ways = {
		slow: fake(9, [1, 2], closed, "slow"),
		wrong: fake(1, [1, 3], closed, "wrong"),
		fast: fake(4, [1, 2], closed, "fast"),
	};
	const row = await new Comparison(limits()).row("row", "kind", 2e6, null, () => fake(2, [1, 2], closed, "ours"), [
		peer("peer", ways),
	]);
	expect(row.entries.map(({ runtime, how, milliseconds, gflops }) => [runtime, how, milliseconds, gflops])).toEqual([
		["Firstlight", "", 2, 1],
		["peer", "fast", 4, 0.5],
	]);
	expect(row.notes).toEqual([expect.stringContaining("wrong: not compared")]);
	expect(closed.sort()).toEqual(["fast", "ours", "slow", "wrong"]);
});

test("a peer that cannot start is a note with its message, and is not asked again", async () => {
	let asked = 0;
	const broken: Peer<null> = {
		name: "broken",
		open() {
			asked++;
			throw new Error("no adapter\nstack");
		},
	};
	const comparison = new Comparison(limits());
	for (const name of ["first", "second"]) {
		const row = await comparison.row(name, "kind", 1e6, null, () => fake(1, [1]), [broken]);
		expect(row.entries).toHaveLength(1);
		expect(row.notes).toEqual(["broken: no adapter"]);
	}
	expect(asked).toBe(1);
});

test("what would take too long by the rate shown so far is not begun", async () => {
	const comparison = new Comparison(limits());
	const peers = [peer("peer", { only: fake(1000, [1]) })];
	await comparison.row("small", "kind", 1e9, null, () => fake(1, [1]), peers);
	const row = await comparison.row("large", "kind", 20e9, null, () => fake(1, [1]), peers);
	expect(row.entries.map(({ runtime }) => runtime)).toEqual(["Firstlight"]);
	expect(row.notes).toEqual(["peer: left out, a run would take about 20 s at the 1.0 GFLOPS it showed"]);
});

test("a slow first run is not the rate shown", async () => {
	const comparison = new Comparison({ ...limits(), run: 1, row: 0.5 });
	let begun: number | undefined;
	const warming: Contender = {
		...fake(1, [1]),
		run: async () => (performance.now() - (begun ??= performance.now()) < 35 ? 100 : 1),
	};
	await comparison.row("small", "kind", 1e9, null, () => warming, []);
	const row = await comparison.row("large", "kind", 20e9, null, () => fake(1, [1]), []);
	expect(row.notes).toEqual([]);
	expect(row.entries).toHaveLength(1);
});

test("flops", () => {
	expect(SMALL.map(flopsOf)).toEqual([
		2 * 6 * 32 * 24,
		8 * 6 * 32 * 24,
		6 * 6 * 32 * 24,
		4 * 2 * 5 * 9 * 24,
		2 * 30 * 8 * 12 * 9,
	]);
});
