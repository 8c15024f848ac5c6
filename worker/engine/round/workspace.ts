import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import type { GraphShape, Quantiser } from "../../families/family.ts";
import { codeWords } from "../../protocol/codes.ts";
import type { Planned } from "./room.ts";

/** The largest round to come. */
export interface WorkspaceNeed {
	/** Tokens over all guidance rows. */
	rows: number;
	/** Tokens counted once a picture. */
	cells: number;
	/** Floats of the largest projection. */
	matrix: number;
	/** There are spans on few tokens, and some that gather them. */
	spans: boolean;
	gathers: boolean;
}

/**
 * Enough for any round of pictures of which each needs so much at most. A round takes one scale at least, and no more
 * than `maxTokens` beyond that.
 */
export function roundNeed(pictures: readonly WorkspaceNeed[], maxTokens: number): WorkspaceNeed {
	const sum = (of: (need: WorkspaceNeed) => number) => pictures.reduce((total, need) => total + of(need), 0);
	return {
		rows: Math.min(
			sum(({ rows }) => rows),
			Math.max(maxTokens, ...pictures.map(({ rows }) => rows)),
		),
		cells: sum(({ cells }) => cells),
		matrix: Math.max(...pictures.map(({ matrix }) => matrix)),
		spans: pictures.some(({ spans }) => spans),
		gathers: pictures.some(({ gathers }) => gathers),
	};
}

/** Enough for both. */
export const largerNeed = (a: WorkspaceNeed, b: WorkspaceNeed): WorkspaceNeed => ({
	rows: Math.max(a.rows, b.rows),
	cells: Math.max(a.cells, b.cells),
	matrix: Math.max(a.matrix, b.matrix),
	spans: a.spans || b.spans,
	gathers: a.gathers || b.gathers,
});

/** Whether what is enough for `held` is enough for `need`. */
export const covers = (held: WorkspaceNeed, need: WorkspaceNeed): boolean =>
	need.rows <= held.rows &&
	need.cells <= held.cells &&
	need.matrix <= held.matrix &&
	(!need.spans || held.spans) &&
	(!need.gathers || held.gathers);

/** Activations inside a block, reused by every block. */
export interface BlockWork {
	/** [rows, width] */
	normed: Tensor;
	/** [rows, 3 * width] */
	qkv: Tensor;
	/** [rows, width] */
	attended: Tensor;
	/** [rows, ffn], and what gates it where something does. */
	hidden: Tensor;
	up: Tensor;
}

/** The tensors of a workspace by their labels. */
function shapesOf(
	{ width, ffn, gated }: GraphShape,
	{ logits, patch, channels, features, bits }: Quantiser,
	{ rows, cells, matrix, spans, gathers }: WorkspaceNeed,
) {
	const spanRows = spans ? rows : 0;
	const gatherRows = gathers ? rows : 0;
	// Beside the codes to go on with: those sampled where others are forced, and those of selected tokens alone.
	const outputs = (gathers ? 3 : 2) * cells;
	return {
		x: [rows, width],
		"x of another layout": [spanRows, width],
		"block norm": [rows, width],
		"block qkv": [rows, 3 * width],
		"block attention": [rows, width],
		"block ffn": [rows, ffn],
		"block ffn gate": [gated ? rows : 0, ffn],
		logits: [rows, logits],
		"mixed logits": [outputs, logits],
		temperatures: [cells],
		codes: [outputs, codeWords(bits)],
		"code values": [cells * patch ** 2, channels],
		"scale input": [cells, features],
		embedded: [cells, width],
		projections: [matrix],
		"squared norms": [spanRows],
		"sort keys": [spanRows],
		positions: [spanRows],
		"mean tokens": [gatherRows, width],
		"full length": [gatherRows, width],
	};
}

/** The tensors that a workspace for `need` is made of. */
export const workspaceTensors = (shape: GraphShape, quantiser: Quantiser, need: WorkspaceNeed): Planned[] =>
	Object.entries(shapesOf(shape, quantiser, need)).map(([label, shape]) => ({ label, shape }));

/** Activations of one round, the largest that the open pictures can need. Nothing in them outlives a round. */
export class Workspace implements Disposable {
	readonly need: WorkspaceNeed;
	/** [rows, width]; `other` takes the batch where spans change its layout, and is there only then. */
	readonly x: Tensor;
	readonly other: Tensor;
	readonly block: BlockWork;
	/** [rows, logits], and mixed by guidance: [outputs, logits]. */
	readonly logits: Tensor;
	readonly mixed: Tensor;
	/** Temperatures of the sampled parts, for rounds that seek some. */
	readonly taus: Tensor;
	/** u32 [outputs, words] */
	readonly codes: Tensor;
	/** [cells * patch^2, channels]: maps of the codes as numbers. [cells, features]: the inputs of the scale. */
	readonly values: Tensor;
	readonly input: Tensor;
	/** [cells, width] */
	readonly embedded: Tensor;
	/** Of spans: projections, squared norms, keys that the draw or the choice sorts by, positions. */
	readonly matrices: Tensor;
	readonly norms: Tensor;
	readonly sortKeys: Tensor;
	readonly positions: Tensor;
	/** Of those that gather: mean tokens, and the full length of what passes by. [rows, width] */
	readonly means: Tensor;
	readonly full: Tensor;
	#owned: Scope;

	constructor(gpu: Gpu, shape: GraphShape, quantiser: Quantiser, need: WorkspaceNeed) {
		using made = new Scope(gpu);
		const shapes = shapesOf(shape, quantiser, need);
		const make = (label: keyof typeof shapes) => made.tensor(label, shapes[label]);
		this.need = need;
		this.x = make("x");
		this.other = make("x of another layout");
		this.block = {
			normed: make("block norm"),
			qkv: make("block qkv"),
			attended: make("block attention"),
			hidden: make("block ffn"),
			up: make("block ffn gate"),
		};
		this.logits = make("logits");
		this.mixed = make("mixed logits");
		this.taus = make("temperatures");
		this.codes = make("codes");
		this.values = make("code values");
		this.input = make("scale input");
		this.embedded = make("embedded");
		this.matrices = make("projections");
		this.norms = make("squared norms");
		this.sortKeys = make("sort keys");
		this.positions = make("positions");
		this.means = make("mean tokens");
		this.full = make("full length");
		this.#owned = made.move();
	}

	[Symbol.dispose](): void {
		this.#owned[Symbol.dispose]();
	}
}
