import { expect, test } from "vitest";
import { KernelError } from "../../../kernels/gpu/errors.ts";
import { kernel, write } from "../../../kernels/gpu/kernel.ts";
import { sharedGpu } from "../../../kernels/gpu/native/testing.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import { copy } from "../../../kernels/tokens/gather.ts";
import { PromptFeatures, type TextEncoder } from "./prompt-features.ts";

const gpu = await sharedGpu();

const WIDTH = 4;
const MAX = 8;

/** Writes the ids themselves, `WIDTH` times each, and counts. */
class Echo implements TextEncoder {
	readonly config = { width: WIDTH, maxTokens: MAX };
	encoded: string[] = [];
	record(
		pass: Pass,
		ids: readonly number[],
		features: Parameters<TextEncoder["record"]>[2],
		{ to }: { to: number },
	): void {
		this.encoded.push(ids.join());
		const words = new Uint32Array(Float32Array.from(ids.flatMap((id) => Array<number>(WIDTH).fill(id))).buffer);
		copy(pass, { x: pass.table(words), y: features, to: to * WIDTH, count: words.length, label: "echo" });
	}
}

async function within(
	bytes: number | undefined,
	run: (prompts: PromptFeatures, echo: Echo, ask: (...ids: number[]) => Promise<number[]>) => Promise<void>,
): Promise<void> {
	const before = gpu.bytes;
	const echo = new Echo();
	const scope = new Scope(gpu);
	const prompts = new PromptFeatures(scope, gpu, echo, bytes);
	/** The features' first column. */
	const ask = async (...ids: number[]) => {
		const pass = gpu.pass("ask");
		const start = prompts.record(pass, ids);
		const [data] = await pass.submit([prompts.tensor]);
		return ids.map((_, i) => new Float32Array(data)[(start + i) * WIDTH]);
	};
	await run(prompts, echo, ask);
	scope[Symbol.dispose]();
	expect(gpu.bytes).toBe(before);
}

test("a prompt is encoded once, whatever others came between, and takes no memory of its own", () =>
	within(undefined, async (_, echo, ask) => {
		const bytes = gpu.bytes;
		for (const ids of [
			[5, 1],
			[7, 8, 1],
			[5, 1],
			[5, 1, 1],
			[7, 8, 1],
		])
			expect(await ask(...ids)).toEqual(ids);
		expect(echo.encoded).toEqual(["5,1", "7,8,1", "5,1,1"]);
		expect(gpu.bytes).toBe(bytes);
	}));

test("the least recently used make room, no more than needed", () =>
	// Room for three prompts of full length.
	within(1, async (_, echo, ask) => {
		const full = (id: number) => Array<number>(MAX).fill(id);
		for (const id of [1, 2, 3]) await ask(...full(id));
		await ask(...full(1));
		expect(await ask(...full(4))).toEqual(full(4));
		expect(await ask(...full(1))).toEqual(full(1));
		expect(await ask(...full(3))).toEqual(full(3));
		expect(echo.encoded).toHaveLength(4);
		expect(await ask(...full(2))).toEqual(full(2));
		expect(echo.encoded).toHaveLength(5);
	}));

test("two prompts of one pass lie beside each other, however full it is", () =>
	within(1, async (prompts, _, ask) => {
		for (let id = 1; id < 40; id++) {
			await ask(...Array<number>(1 + (id % MAX)).fill(id));
			const pass = gpu.pass("two");
			const texts = [
				Array<number>(1 + ((5 * id) % MAX)).fill(100 + id),
				Array<number>(1 + ((3 * id) % MAX)).fill(200 + id),
			];
			const starts = texts.map((ids) => prompts.record(pass, ids));
			const [data] = await pass.submit([prompts.tensor]);
			texts.forEach((ids, i) =>
				expect(ids.map((_, at) => new Float32Array(data)[(starts[i] + at) * WIDTH])).toEqual(ids),
			);
		}
	}));

test("what a pass was to encode that never ran is encoded again; within a pass, once", () =>
	within(undefined, async (prompts, echo, ask) => {
		prompts.record(gpu.pass("dropped"), [3, 1]);
		await gpu.compile(
			gpu.rehearse(() => {
				const pass = gpu.pass("rehearsal");
				prompts.record(pass, [3, 1]);
				pass.submit();
			}),
		);
		expect(await ask(3, 1)).toEqual([3, 1]);
		expect(echo.encoded).toEqual(["3,1", "3,1", "3,1"]);
		const pass = gpu.pass("twice");
		expect(prompts.record(pass, [4, 1])).toBe(prompts.record(pass, [4, 1]));
		pass.submit();
		expect(await ask(4, 1)).toEqual([4, 1]);
		expect(echo.encoded).toHaveLength(4);
	}));

test("what a pass was to encode whose work was refused is encoded again", () =>
	within(undefined, async (prompts, echo, ask) => {
		const wrong = kernel({ name: "wrong", bindings: { y: write("f32") }, code: () => "fn main() { missing(); }" });
		// Refused as it is compiled, and then without being asked again.
		for (let i = 0; i < 2; i++) {
			const pass = gpu.pass("refused");
			prompts.record(pass, [3, 1]);
			pass.run(wrong, { label: "wrong", bindings: { y: prompts.tensor }, groups: [1] });
			await expect(pass.submit([prompts.tensor])).rejects.toThrow(KernelError);
		}
		expect(await ask(3, 1)).toEqual([3, 1]);
		expect(await ask(3, 1)).toEqual([3, 1]);
		expect(echo.encoded).toEqual(["3,1", "3,1", "3,1"]);
	}));

test("nobody builds on what is not known to be written: a pass behind the one that encodes encodes again", () =>
	within(undefined, async (prompts, echo, ask) => {
		const first = gpu.pass("first");
		prompts.record(first, [3, 1]);
		const written = first.submit([prompts.tensor]);
		expect(await ask(3, 1)).toEqual([3, 1]);
		await written;
		expect(await ask(3, 1)).toEqual([3, 1]);
		expect(echo.encoded).toEqual(["3,1", "3,1"]);
	}));

test("an encoder that visits comes for texts that are not kept, all at once, and has gone when they are", async () => {
	const before = gpu.bytes;
	using scope = new Scope(gpu);
	const echo = new Echo();
	let [visits, fails] = [0, false];
	const prompts = new PromptFeatures(
		scope,
		gpu,
		{
			config: echo.config,
			async visit() {
				visits++;
				if (fails) throw new RangeError("gone");
				const made = new Scope(gpu);
				made.tensor("weights of an encoder", [1 << 16]);
				return {
					config: echo.config,
					record: (...args) => echo.record(...args),
					[Symbol.dispose]: () => made[Symbol.dispose](),
				};
			},
		},
		1,
	);
	const held = gpu.bytes;
	const column = async (...ids: number[]) => {
		const pass = gpu.pass("ask");
		const start = prompts.record(pass, ids);
		const [data] = await pass.submit([prompts.tensor]);
		return ids.map((_, i) => new Float32Array(data)[(start + i) * WIDTH]);
	};
	expect(
		prompts.missing([
			[5, 1],
			[7, 1],
		]),
	).toHaveLength(2);
	expect(() => prompts.record(gpu.pass("too early"), [5, 1])).toThrow(/was not encoded/);
	const waits: boolean[] = [];
	const texts = [
		[5, 1],
		[7, 1],
	];
	const encoded = prompts.encode(texts, undefined, (begins) => waits.push(begins));
	// Whoever leaves before its turn has no encoder come; what is tried out meanwhile waits until it has gone.
	const leaving = new AbortController();
	const left = prompts.encode([[9, 1]], leaving.signal);
	leaving.abort("left");
	await expect(left).rejects.toBe("left");
	const beside = gpu.memoryTurns.take(async () => gpu.bytes);
	await encoded;
	expect(await beside).toBe(held);
	expect(waits).toEqual([false, true]);
	expect(
		prompts.missing([
			[5, 1],
			[7, 1],
		]),
	).toEqual([]);
	expect([await column(5, 1), await column(7, 1), visits, gpu.bytes]).toEqual([[5, 1], [7, 1], 1, held]);
	// What a rehearsal asks for is not encoded.
	gpu.rehearse(() => expect(prompts.record(gpu.pass("rehearsal"), [9, 1])).toBe(0));
	expect(echo.encoded).toEqual(["5,1", "7,1"]);
	fails = true;
	await expect(prompts.encode([[9, 1]])).rejects.toThrow("gone");
	expect(
		prompts.missing([
			[9, 1],
			[5, 1],
		]),
	).toEqual([[9, 1]]);
	fails = false;
	for (let id = 10; id < 20; id++) {
		await prompts.encode([Array<number>(MAX).fill(id), [7, 1]]);
		expect(await column(7, 1)).toEqual([7, 1]);
	}
	expect([visits, gpu.bytes, prompts.missing([[5, 1]]).length]).toEqual([12, held, 1]);
	scope[Symbol.dispose]();
	expect(gpu.bytes).toBe(before);
});
