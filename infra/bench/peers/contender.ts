/** Something that can run one workload again and again on data it holds ready. */
export interface Contender {
	/**
	 * Runs it once and waits until it is done; little is read back. Returns the milliseconds that count where those are
	 * not all of it.
	 */
	run(): Promise<number | undefined>;
	/**
	 * Runs it and reads the result: row-major [m, n], [rows, tokens, width] or [height, width, output]; a transformer's
	 * logits scale by scale.
	 */
	result(): Promise<Float32Array>;
	close(): Promise<void>;
}

/** A runtime; `open` gives the ways it can run a workload, of which the fastest correct one counts. */
export interface Peer<Work> {
	name: string;
	/** Runs on the CPU without WebGPU: only places the adapter. */
	cpu?: boolean;
	open(work: Work): AsyncGenerator<{ how: string; contender: Contender }, void, undefined>;
}

/** Largest |difference| over the largest |expected|; Infinity where lengths differ or something is not finite. */
export function relativeError(actual: Float32Array, expected: Float32Array): number {
	if (actual.length !== expected.length) return Infinity;
	let error = 0;
	let most = 0;
	for (let i = 0; i < expected.length; i++) {
		const difference = Math.abs(actual[i] - expected[i]);
		if (!(difference < Infinity)) return Infinity;
		error = Math.max(error, difference);
		most = Math.max(most, Math.abs(expected[i]));
	}
	return error / most;
}
