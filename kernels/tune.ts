/**
 * Measures the variants of the heavy operators at given shapes and keeps the fastest of each shape class. A variant
 * counts only when its bits are those of the plainest one of its order of sums on this very adapter; the order is
 * chosen by the weight's shape. So no choice within it, and no row count, changes a result.
 */
import { KernelError } from "./gpu/errors.ts";
import type { Gpu } from "./gpu/gpu.ts";
import type { Pass } from "./gpu/pass.ts";
import { Scope } from "./gpu/scope.ts";
import type { Tensor } from "./gpu/tensor.ts";
import { choose, orderOf, PLAIN, type Tunable, type Tuning, usable, type Variant } from "./gpu/variants.ts";
import { type Shapes, tunables } from "./index.ts";

/** Raised whenever an operator changes the order of its sums, or anything else that its bits depend on. */
export const KERNELS_VERSION = 2;

/** One operator at one shape. `record` runs the variant of that name, or the default one. */
interface Trial {
	key: string;
	/** Where variants are of several orders of sums: what one order is chosen for, by all of its trials. */
	orderKey: string | undefined;
	name: string;
	flops: number;
	/** Those that may run. */
	variants(gpu: Gpu): readonly Variant[];
	/** What runs when none is named, and the order of its sums. */
	chosen(gpu: Gpu): Variant;
	order(gpu: Gpu): string;
	inputs: readonly { size: number; dtype?: "f16" }[];
	outputs: number;
	/** Outputs of the first row, which must not depend on how many there are. */
	row: number;
	record(pass: Pass, inputs: readonly Tensor[], y: Tensor, variant?: string): void;
}

function trialOf<S, V extends Variant>(tunable: Tunable<S, V>, shape: S): Trial {
	const { record, ...run } = tunable.trial(shape);
	return {
		...run,
		key: tunable.key(shape),
		orderKey: tunable.orderKey?.(shape),
		variants: (gpu) => usable(gpu, tunable, shape),
		chosen: (gpu) => choose(gpu, tunable, shape),
		order: (gpu) => orderOf(gpu, tunable, shape),
		record: (pass, inputs, y, variant) =>
			record(
				pass,
				inputs,
				y,
				tunable.variants.find(({ name }) => name === variant),
			),
	};
}

/** A trial for every shape. */
export function trials(shapes: Shapes): Trial[] {
	const of = <Name extends keyof Shapes>(name: Name) =>
		(shapes[name] ?? []).map((shape) => trialOf(tunables[name], shape));
	return (Object.keys(tunables) as (keyof Shapes)[]).flatMap(of);
}
interface Measurement {
	variant: string;
	order: string;
	/** Wall-clock of one run, the least of some rounds. */
	milliseconds: number;
	/** Bit-equal to the plainest variant of its order; that of another order near the plainest of all. */
	right: boolean;
	/** Bits of the first row. */
	row: Uint32Array;
}

/** Sums of f16 factors in another order: one unit of f16 in the last place of the largest result. */
const F16_BOUND = 2 ** -10;

/** A variant that takes as many times the best one's time at first is not timed again. */
const FAR = 4;

/**
 * Times each available variant of a trial, interleaved in `rounds`, each round long enough to time. One that the driver
 * refuses is left out. Throws what `Gpu.read` throws.
 */
export async function measure(gpu: Gpu, trial: Trial, rounds = 2, only?: readonly string[]): Promise<Measurement[]> {
	using scope = new Scope(gpu);
	const inputs = trial.inputs.map(({ size, dtype }, i) =>
		scope.upload(`tune input ${i}`, [size], dtype === "f16" ? new Float16Array(noise(size, i)) : noise(size, i)),
	);
	const y = scope.tensor("tune output", [trial.outputs]);
	const submit = (variant: string, repeats: number) => {
		const pass = gpu.pass("tune");
		for (let i = 0; i < repeats; i++) trial.record(pass, inputs, y, variant);
		pass.submit();
	};
	const time = async (variant: string, repeats: number) => {
		const begun = performance.now();
		submit(variant, repeats);
		await gpu.read([{ ...y, bytes: 16 }]);
		return (performance.now() - begun) / repeats;
	};
	const results: Measurement[] = [];
	const plainest = new Map<string, Uint32Array<ArrayBuffer>>();
	for (const { name, order = PLAIN } of trial.variants(gpu).filter((variant) => only?.includes(variant.name) ?? true)) {
		if (!(await compiles(gpu, () => submit(name, 1)))) continue;
		gpu.write(y, 0, new Uint32Array(trial.outputs).fill(0x7fc00000));
		const milliseconds = await time(name, 1);
		const bits = new Uint32Array((await gpu.read([y]))[0], 0, trial.outputs);
		const same = plainest.get(order);
		const plain = plainest.get(PLAIN);
		const right = same ? equal(bits, same) : !plain || near(bits, plain);
		if (right && !same) plainest.set(order, bits);
		results.push({ variant: name, order, milliseconds, right, row: bits.slice(0, trial.row) });
	}
	const best = Math.min(...results.map(({ milliseconds }) => milliseconds));
	const close = results.filter(({ milliseconds }) => milliseconds <= FAR * best);
	const repeats = Math.max(1, Math.min(64, Math.ceil(4 / best)));
	for (let round = 0; round < rounds; round++) {
		for (const result of close)
			result.milliseconds = Math.min(result.milliseconds, await time(result.variant, repeats));
	}
	return results;
}

async function compiles(gpu: Gpu, record: () => void): Promise<boolean> {
	try {
		await gpu.compile(gpu.rehearse(record));
		return true;
	} catch (error) {
		if (error instanceof KernelError) return false;
		throw error;
	}
}

/** Millions of words: a loop, where a callback for each would take longer than the trial. */
function equal(a: Uint32Array, b: Uint32Array): boolean {
	for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
	return true;
}

/** Within the bound of another order of sums. */
export function near(actual: Uint32Array<ArrayBuffer>, expected: Uint32Array<ArrayBuffer>): boolean {
	const [a, b] = [actual, expected].map((words) => new Float32Array(words.buffer, words.byteOffset, words.length));
	const most = b.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
	return a.every((value, i) => Math.abs(value - b[i]) <= F16_BOUND * most);
}

interface TuneOptions {
	/** What is known: choices that are kept. */
	known?: Tuning;
	/** Told what is chosen as soon as it is. */
	chosen?: (choices: Tuning) => void;
	progress?: (done: number, total: number) => void;
}

/** What is larger than a binding is cut where it is used, and is not made for a trial: the usual choice stays. */
const boundWhole = ({ bindingBytes }: Gpu, { inputs, outputs }: Trial): boolean =>
	4 * outputs <= bindingBytes && inputs.every(({ size, dtype }) => size * (dtype === "f16" ? 2 : 4) <= bindingBytes);

/**
 * The fastest right variant of each shape class not `known`; the first shape of a class speaks for it. Of several
 * orders of sums, the one that is faster over all row counts of its weight.
 */
export async function tune(
	gpu: Gpu,
	shapes: Shapes,
	{ known = {}, chosen, progress }: TuneOptions = {},
): Promise<Tuning> {
	const classes = new Map(
		trials(shapes)
			.reverse()
			.map((trial) => [trial.key, trial]),
	);
	const missing = [...classes.values()].reverse().filter((trial) => !(trial.key in known) && boundWhole(gpu, trial));
	const tuning: Record<string, string> = {};
	let done = 0;
	progress?.(0, missing.length);
	for (const [orderKey, group] of Map.groupBy(missing, ({ key, orderKey }) => orderKey ?? key)) {
		const measured: { trial: Trial; of: Measurement[] }[] = [];
		for (const trial of group) {
			measured.push({ trial, of: await measure(gpu, trial) });
			progress?.(++done, missing.length);
		}
		const order = known[orderKey] ?? fastestOrder(measured.map(({ of }) => of));
		const choices: Record<string, string> = group[0].orderKey ? { [orderKey]: order } : {};
		for (const { trial, of } of measured)
			choices[trial.key] = fastest(
				of.filter((each) => each.order === order),
				trial.chosen(gpu).name,
			);
		Object.assign(tuning, choices);
		chosen?.(choices);
	}
	return tuning;
}

/**
 * The order whose best variants take the least time over all trials, of those that are right in each, with one first
 * row.
 */
export function fastestOrder(trials: readonly Measurement[][]): string {
	const orders = [...new Set(trials.flatMap((of) => of.map(({ order }) => order)))];
	const total = (order: string) => {
		const best = trials.map((of) =>
			of
				.filter((each) => each.order === order && each.right)
				.reduce<Measurement | undefined>(
					(best, next) => (best && best.milliseconds <= next.milliseconds ? best : next),
					undefined,
				),
		);
		const steady = best.every((each) => each?.row.every((word, i) => word === best[0]?.row[i]));
		return steady ? best.reduce((sum, each) => sum + (each?.milliseconds ?? Infinity), 0) : Infinity;
	};
	return orders.reduce((best, next) => (total(next) < total(best) ? next : best), PLAIN);
}

/**
 * Noise is more than this share of a time: the usual choice stays, and with it its compiled program, until one is
 * faster by more.
 */
const MARGIN = 0.05;

/** The fastest right variant; where none is, the usual one. */
export function fastest(measurements: readonly Measurement[], usual: string): string {
	const right = measurements.filter((each) => each.right);
	if (right.length === 0) return usual;
	const best = right.reduce((best, next) => (next.milliseconds < best.milliseconds ? next : best));
	return right.some(
		({ variant, milliseconds }) => variant === usual && milliseconds * (1 - MARGIN) <= best.milliseconds,
	)
		? usual
		: best.variant;
}

/**
 * Part of the numerics id: what the kernels' bits depend on beside adapter and driver. All variants of one order of
 * sums give the same bits (`measure` sees to it), so it is the version, and the orders that the shapes' sums have here:
 * it stays when the adapter is measured again and the orders stay.
 */
export function tuningId(gpu: Gpu, shapes: Shapes): string {
	const orders = trials(shapes).flatMap((trial) => {
		const order = trial.order(gpu);
		return order === PLAIN ? [] : [`${trial.orderKey} ${order}`];
	});
	return [`kernels ${KERNELS_VERSION}`, ...[...new Set(orders)].sort()].join("\n");
}

/** Uniform in (-1, 1), the same for the same seed; repeats after a prime number of words. */
function noise(count: number, seed: number): Float32Array<ArrayBuffer> {
	const out = new Float32Array(count);
	let state = seed + 1;
	for (let i = 0; i < Math.min(count, 4093); i++) {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
		out[i] = state / 2 ** 31 - 1;
	}
	for (let i = 4093; i < count; i++) out[i] = out[i - 4093];
	return out;
}
