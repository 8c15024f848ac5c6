import type { Gpu, Tensor } from "../../../kernels/gpu/gpu.ts";
import type { BlockWork, GraphShape, Quantiser } from "../../families/family.ts";
import { codeWords } from "../codes.ts";

/** The largest round to come: tokens over all guidance rows, tokens counted once a job, the largest projection. */
export interface Need {
	rows: number;
	cells: number;
	matrix: number;
	spans: boolean;
	/** Some spans gather. */
	gathers: boolean;
}

/**
 * Enough for any round of jobs of which each needs so much at most. A round takes one step at least, and no more than
 * `maxTokens` beyond that.
 */
export function roundNeed(jobs: readonly Need[], maxTokens: number): Need {
	const sum = (of: (need: Need) => number) => jobs.reduce((total, need) => total + of(need), 0);
	return {
		rows: Math.min(
			sum(({ rows }) => rows),
			Math.max(maxTokens, ...jobs.map(({ rows }) => rows)),
		),
		cells: sum(({ cells }) => cells),
		matrix: Math.max(...jobs.map(({ matrix }) => matrix)),
		spans: jobs.some(({ spans }) => spans),
		gathers: jobs.some(({ gathers }) => gathers),
	};
}

/** Enough for both. */
export const largerNeed = (a: Need, b: Need): Need => ({
	rows: Math.max(a.rows, b.rows),
	cells: Math.max(a.cells, b.cells),
	matrix: Math.max(a.matrix, b.matrix),
	spans: a.spans || b.spans,
	gathers: a.gathers || b.gathers,
});

/** Activations of one round. Made for the largest round that the open jobs can need; nothing in it outlives a round. */
export class Workspace {
	readonly need: Need;
	/** [rows, width]; the second is there when spans change the layout of the batch. */
	x: [Tensor, Tensor];
	readonly block: BlockWork;
	/** [rows, logits], and mixed by guidance: [3 * cells, logits]. */
	readonly logits: Tensor;
	readonly mixed: Tensor;
	/** Temperatures of the sampled parts, for rounds that seek some. */
	readonly taus: Tensor;
	/**
	 * u32 [3 * cells, words]: codes to go on with, those sampled where others are forced, and those of kept tokens alone.
	 */
	readonly codes: Tensor;
	/** [cells * patch^2, channels]: maps of the codes as numbers. [cells, features]: the inputs of the scale. */
	readonly values: Tensor;
	readonly input: Tensor;
	/** [cells, width] */
	readonly embedded: Tensor;
	/** Of spans: projections, squared norms, keys of the draw or the choice, positions. */
	readonly matrices: Tensor;
	readonly norms: Tensor;
	readonly race: Tensor;
	readonly positions: Tensor;
	/** Of those that gather: mean tokens, and the full length of what passes by. [rows, width] */
	readonly means: Tensor;
	readonly full: Tensor;
	#gpu: Gpu;
	#owned: Tensor[] = [];

	constructor(
		gpu: Gpu,
		{ width, ffn, gated }: GraphShape,
		{ logits, patch, channels, features, bits }: Quantiser,
		need: Need,
	) {
		const { rows, cells, matrix, spans, gathers } = need;
		this.#gpu = gpu;
		this.need = need;
		const make = (label: string, shape: number[]) => {
			const tensor = gpu.tensor(label, shape);
			this.#owned.push(tensor);
			return tensor;
		};
		const x = make("x", [rows, width]);
		this.x = [x, spans ? make("x of another layout", [rows, width]) : x];
		this.block = {
			normed: make("block norm", [rows, width]),
			qkv: make("block qkv", [rows, 3 * width]),
			attended: make("block attention", [rows, width]),
			hidden: make("block ffn", [rows, ffn]),
			up: make("block ffn gate", [gated ? rows : 0, ffn]),
		};
		this.logits = make("logits", [rows, logits]);
		this.mixed = make("mixed logits", [(gathers ? 3 : 2) * cells, logits]);
		this.taus = make("temperatures", [cells]);
		this.codes = make("codes", [(gathers ? 3 : 2) * cells, codeWords(bits)]);
		this.values = make("code values", [cells * patch ** 2, channels]);
		this.input = make("scale input", [cells, features]);
		this.embedded = make("embedded", [cells, width]);
		this.matrices = make("projections", [matrix]);
		const spanRows = spans ? rows : 0;
		this.norms = make("squared norms", [spanRows]);
		this.race = make("race keys", [spanRows]);
		this.positions = make("positions", [spanRows]);
		const gatherRows = gathers ? rows : 0;
		this.means = make("mean tokens", [gatherRows, width]);
		this.full = make("full length", [gatherRows, width]);
	}

	fits({ rows, cells, matrix, spans, gathers }: Need): boolean {
		const { need } = this;
		return (
			rows <= need.rows &&
			cells <= need.cells &&
			matrix <= need.matrix &&
			(!spans || need.spans) &&
			(!gathers || need.gathers)
		);
	}

	destroy(): void {
		this.#gpu.free(...this.#owned);
	}
}
