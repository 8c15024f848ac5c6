import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import { findModel } from "../../../model-shards/open.ts";
import { Comparison, type Row } from "./compare.ts";
import { firstlight } from "./firstlight.ts";
import { operatorPeer, PROVIDERS } from "./onnxruntime.ts";
import { tensorflow } from "./tensorflow.ts";
import { engine, generateTapped, transformerPeer } from "./transformer.ts";
import { flopsOf, WORKLOADS } from "./workloads.ts";

export interface PeersOptions {
	model: string;
	/** Rows by name. */
	rows: RegExp;
	/** Peers by name. */
	runtimes: RegExp;
	maxSeconds: number;
	progress?: (text: string) => void;
}

/**
 * A run of one contender that takes longer is left out, and rounds of a row stay within a few seconds: on a CPU adapter
 * most would.
 */
const RUN_SECONDS = 2.5;
const ROW_SECONDS = 3;
/** The whole transformer is what the comparison is for: it may take longer. */
const TRANSFORMER_SECONDS = 60;

/** Compares operators and the whole transformer of `model`, row by row, in one process on one adapter. */
export async function* comparePeers(
	gpu: Gpu,
	{ model, rows, runtimes, maxSeconds, progress }: PeersOptions,
): AsyncGenerator<Row, void, undefined> {
	const deadline = performance.now() + maxSeconds * 1000;
	const providers = PROVIDERS.filter(({ name }) => runtimes.test(name));
	const whole = `${model} whole transformer, all scales`;
	if (rows.test(whole)) {
		const generation = await generateTapped(gpu, findModel(model));
		const comparison = new Comparison({ run: TRANSFORMER_SECONDS, row: TRANSFORMER_SECONDS, deadline }, progress);
		yield await comparison.row(
			whole,
			"transformer",
			generation.flops,
			generation,
			() => engine(generation),
			providers.map(transformerPeer),
		);
	}
	const operators = new Comparison({ run: RUN_SECONDS, row: ROW_SECONDS, deadline }, progress);
	const peers = [...providers.map(operatorPeer), ...(runtimes.test(tensorflow.name) ? [tensorflow] : [])];
	for (const work of WORKLOADS.filter(({ name }) => rows.test(name))) {
		yield await operators.row(work.name, work.op, flopsOf(work), work, () => firstlight(gpu, work), peers);
	}
}
