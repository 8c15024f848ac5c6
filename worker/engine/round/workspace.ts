import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import { elements, type Tensor, tensorBytes } from "../../../kernels/gpu/tensor.ts";
import type { CodeShape, GraphShape } from "../../families/family.ts";
import { ROWS } from "../../families/shared/guidance.ts";
import { codeWords } from "../../protocol/codes.ts";
import type { Planned } from "./room.ts";

/** The largest round to come. */
export interface WorkspaceNeed {
	/** Tokens over all guidance rows. */
	rows: number;
	/** Of the longest of them. */
	longest: number;
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
		longest: Math.max(...pictures.map(({ longest }) => longest)),
		cells: sum(({ cells }) => cells),
		matrix: Math.max(...pictures.map(({ matrix }) => matrix)),
		spans: pictures.some(({ spans }) => spans),
		gathers: pictures.some(({ gathers }) => gathers),
	};
}

/** Enough for both. */
export const largerNeed = (a: WorkspaceNeed, b: WorkspaceNeed): WorkspaceNeed => ({
	rows: Math.max(a.rows, b.rows),
	longest: Math.max(a.longest, b.longest),
	cells: Math.max(a.cells, b.cells),
	matrix: Math.max(a.matrix, b.matrix),
	spans: a.spans || b.spans,
	gathers: a.gathers || b.gathers,
});

/** Whether what is enough for `held` is enough for `need`. */
export const covers = (held: WorkspaceNeed, need: WorkspaceNeed): boolean =>
	need.rows <= held.rows &&
	need.longest <= held.longest &&
	need.cells <= held.cells &&
	need.matrix <= held.matrix &&
	(!need.spans || held.spans) &&
	(!need.gathers || held.gathers);

/** Activations inside a block, reused by every block. */
export interface BlockWork {
	/** [rows, width] */
	normed: Tensor;
	/** [groupRows, 3 * width], or [rows, width] where that is more. */
	qkv: Tensor;
	/** [rows, width] */
	attended: Tensor;
	/** [feedForwardRows, ffn], and what gates it where something does. */
	hidden: Tensor;
	up: Tensor;
}

/** What is computed of a batch at a time, where that is enough to keep a device busy. */
const GROUP_BYTES = 2 ** 26;
/** Groups begin where tensors can be bound, whatever their columns. */
export const GROUP_STEP = 64;

/** Rows of so many floats in a group. */
const groupOf = (columns: number, bindingBytes: number): number =>
	Math.max(GROUP_STEP, Math.floor(Math.min(GROUP_BYTES, bindingBytes) / 4 / columns / GROUP_STEP) * GROUP_STEP);

/** Rows of which queries, keys and values are made at a time: those of whole sequences. */
export const groupRows = (
	{ width }: GraphShape,
	{ rows, longest }: Pick<WorkspaceNeed, "rows" | "longest">,
	bindingBytes: number,
): number =>
	// Others could not be bound from where a sequence begins.
	width % GROUP_STEP === 0 ? Math.min(rows, Math.max(longest, groupOf(3 * width, bindingBytes))) : rows;

/** Rows that are between the layers of a feed-forward at a time. */
const feedForwardRows = ({ ffn }: GraphShape, rows: number, bindingBytes: number): number =>
	Math.min(rows, groupOf(ffn, bindingBytes));

/** What the residual stream of a round of several pictures takes at most: beyond, rounds are not the faster for it. */
const ROUND_BYTES = 2 ** 28;

/** Tokens, over all guidance rows, that a round of several pictures takes at most. */
export const mostTokens = ({ width }: GraphShape, { logits }: CodeShape, bindingBytes: number): number =>
	Math.floor(Math.min(bindingBytes, ROUND_BYTES) / 4 / Math.max(width, logits));

type Shape = readonly number[];

/**
 * The tensors of a workspace by their labels, and those that lie in one buffer since none of them is used while another
 * one is: not in one dispatch either, which could not read the one and write the other.
 */
function shapesOf(
	shape: GraphShape,
	{ logits, patch, channels, features, bits }: CodeShape,
	{ rows, longest, cells, matrix, spans, gathers }: WorkspaceNeed,
	bindingBytes: number,
) {
	const { width, ffn, gated } = shape;
	const fed = feedForwardRows(shape, rows, bindingBytes);
	const spanRows = spans ? rows : 0;
	const gatherRows = gathers ? rows : 0;
	// Beside the codes to go on with: those sampled where others are forced, and those of selected tokens alone.
	const outputs = (gathers ? 3 : 2) * cells;
	return {
		x: [rows, width],
		"x of another layout": [spanRows, width],
		"block norm": [rows, width],
		"embedded, block qkv or mixed logits": {
			embedded: [cells, width],
			qkv: [Math.max(groupRows(shape, { rows, longest }, bindingBytes), Math.ceil(rows / 3)), 3 * width],
			mixed: [outputs, logits],
		},
		"block attention, block ffn or logits": {
			attended: [rows, width],
			hidden: [fed, ffn],
			logits: [rows, logits],
		},
		"block ffn gate": [gated ? fed : 0, ffn],
		temperatures: [cells],
		codes: [outputs, codeWords(bits)],
		"code values": [cells * patch ** 2, channels],
		"scale input": [cells, features],
		projections: [matrix],
		"squared norms": [spanRows],
		"sort keys": [spanRows],
		positions: [spanRows],
		"mean tokens": [gathers ? ROWS : 0, width],
		"full length": [gatherRows, width],
	} satisfies Record<string, Shape | Record<string, Shape>>;
}

/** Of one tensor, or of what is as large as the largest of several. */
const plannedShape = (shape: Shape | Record<string, Shape>): Shape =>
	Array.isArray(shape)
		? shape
		: Object.values(shape as Record<string, Shape>).reduce((most, next) =>
				elements(next) > elements(most) ? next : most,
			);

/** The tensors that a workspace for `need` is made of. */
export const workspaceTensors = (
	shape: GraphShape,
	codes: CodeShape,
	need: WorkspaceNeed,
	bindingBytes: number,
): Planned[] =>
	Object.entries(shapesOf(shape, codes, need, bindingBytes)).map(([label, shape]) => ({
		label,
		shape: plannedShape(shape),
		long: true,
	}));

/**
 * Activations of one round, the largest that the open pictures can need. Nothing in them outlives a round. They are as
 * long as they have to be: operators take as many rows of them at a time as a binding holds.
 */
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
	/** Of those that gather: mean tokens of a picture's guidance rows, and what passes by in full. [rows, width] */
	readonly means: Tensor;
	readonly full: Tensor;
	#owned: Scope;

	constructor(gpu: Gpu, shape: GraphShape, codes: CodeShape, need: WorkspaceNeed) {
		using made = new Scope(gpu);
		const shapes = shapesOf(shape, codes, need, gpu.bindingBytes);
		const make = (label: keyof typeof shapes) => made.long(label, plannedShape(shapes[label]));
		const part = (whole: Tensor, shape: Shape): Tensor => ({
			...whole,
			shape,
			bytes: Math.min(tensorBytes(shape), whole.bytes),
		});
		const first = shapes["embedded, block qkv or mixed logits"];
		const second = shapes["block attention, block ffn or logits"];
		const [one, other] = [make("embedded, block qkv or mixed logits"), make("block attention, block ffn or logits")];
		this.need = need;
		this.x = make("x");
		this.other = make("x of another layout");
		this.block = {
			normed: make("block norm"),
			qkv: part(one, first.qkv),
			attended: part(other, second.attended),
			hidden: part(other, second.hidden),
			up: make("block ffn gate"),
		};
		this.logits = part(other, second.logits);
		this.mixed = part(one, first.mixed);
		this.taus = make("temperatures");
		this.codes = make("codes");
		this.values = make("code values");
		this.input = make("scale input");
		this.embedded = part(one, first.embedded);
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
