import { kernel, optional, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { bucket, inQuads, range, type Tunable, type Variant } from "../gpu/variants.ts";
import { bound, boundWhole, parted, rowStep, rowsBound } from "../gpu/windows.ts";
import { ROW, type Row, type RowTable, rowTable } from "../tokens/rows.ts";
import { CACHED, LANES, OWN, quadCode, type Share, type Source, tokenCode } from "./programs.ts";

export interface Attention {
	/** [tokens, heads * headDim], `qStride` floats a token; it, the keys and y are of any length. */
	q: Tensor;
	qStride: number;
	/** `stride` elements a key, its key from element `key` on and its value from element `value` on; f32 or f16. */
	kv: { tensor: Tensor; stride: number; key: number; value: number };
	/** The row's own tokens are keys too, after those of `kv`: where a token of `q` has its key and its value. */
	own?: { key: number; value: number };
	/** [tokens, heads * headDim] */
	y: Tensor;
	heads: number;
	headDim: number;
	scale: number;
	rows: RowTable;
	label: string;
	/** For tuning and tests; by default the one chosen for this adapter and shape. */
	variant?: AttentionVariant;
}

/** `tokens` of an invocation; quads share the keys and values they load among four lanes. */
interface AttentionVariant extends Variant {
	form: "token" | "quad";
	tokens: number;
}
const variant = (form: AttentionVariant["form"], tokens: number): AttentionVariant => ({
	name: `${form} ${tokens}`,
	form,
	tokens,
	needs: form === "quad" ? ["subgroups"] : undefined,
});
/** The plainest first: what the tuner checks the others against. */
export const attentionVariants: readonly AttentionVariant[] = [
	...[1, 2, 4, 8].map((tokens) => variant("token", tokens)),
	...[1, 2, 4].map((tokens) => variant("quad", tokens)),
];

interface Options {
	variant: AttentionVariant;
	heads: number;
	headDim: number;
	own: boolean;
	share: Share;
}

const programOf = ({ form, tokens }: AttentionVariant, d4: number, sources: readonly Source[], share: Share) =>
	(form === "quad" ? quadCode : tokenCode)(tokens, d4, sources, share);

const attending = kernel({
	name: "attention",
	params: {
		qStride4: "u32",
		scale: "f32",
		stride4: "u32",
		key4: "u32",
		value4: "u32",
		ownKey4: "u32",
		ownValue4: "u32",
	},
	bindings: { q: read("vec4f"), kv: read("vec4"), y: write("vec4f"), rows: read(ROW), sums: optional(write("vec2f")) },
	enable: ({ variant }: Options) => (variant.form === "quad" ? ["subgroups"] : []),
	code: ({ variant, heads, headDim, own, share }: Options, { kv, sums }) => `
${sums ? `const heads = ${heads}u;` : ""}
const width4 = ${(heads * headDim) / 4}u;
const LEAST = -3.4e38;
fn loadKv(at: u32) -> vec4f { return ${kv === "f16" ? "vec4f(kv[at])" : "kv[at]"}; }
fn loadOwn(at: u32) -> vec4f { return q[at]; }
${programOf(variant, headDim / 4, own ? [CACHED, OWN] : [CACHED], share)}`,
});

/**
 * softmax(scale * Q K^T) V by head over each row's own keys (its range of `kv`, then with `own` its tokens), with a
 * running maximum and sum (Milakov and Gimelshein, arXiv 1805.02867): no score matrix in memory. Keys come four at a
 * time, counted from the first of either kind, whatever the variant.
 */
export function attention(pass: Pass, op: Attention): void {
	const { q, kv, y, headDim, rows: table, label } = op;
	if (headDim % 4) throw new RangeError(`${label}: head dimension ${headDim} must be a multiple of 4`);
	if (boundWhole(pass.gpu, q, kv.tensor, y)) attend(pass, op, table);
	else for (const row of table.rows) attendByWindows(pass, op, row);
}

/** The rows' keys, or with `sums` [tokens, heads, 2] one share of them after the other. */
function attend(
	pass: Pass,
	op: Attention,
	{ rows, table }: Pick<RowTable, "rows" | "table">,
	share: Share = "all",
	sums?: Tensor,
): void {
	const { q, qStride, kv, own, y, heads, headDim, scale, label } = op;
	const tokens = Math.max(...rows.map((row) => row.tokens));
	const keys = Math.max(...rows.map((row) => row.keys + (own ? row.tokens : 0)));
	const shape = { rows: rows.length, tokens, keys, heads, headDim, own: own !== undefined };
	const variant = op.variant ?? pass.gpu.choice(attentionTunable, shape);
	pass.run(attending, {
		label,
		options: { variant, heads, headDim, own: shape.own, share },
		params: {
			qStride4: qStride / 4,
			scale,
			stride4: kv.stride / 4,
			key4: kv.key / 4,
			value4: kv.value / 4,
			ownKey4: own ? own.key / 4 : 0,
			ownValue4: own ? own.value / 4 : 0,
		},
		bindings: { q, kv: kv.tensor, y, rows: table, sums },
		groups: [Math.ceil(tokens / variant.tokens / (variant.form === "quad" ? 4 : LANES)), heads, rows.length],
	});
}

/** Keys of a share begin at a multiple of this, so that they come four at a time as ever. */
const FOUR = 4;

/** As many queries of a row, over as many of its keys at a time as bindings hold. */
function attendByWindows(pass: Pass, op: Attention, row: Row): void {
	const { q, qStride, kv, own, y, heads, headDim, label } = op;
	const { gpu } = pass;
	const width = heads * headDim;
	const queries = [
		[q, qStride],
		[y, width],
	] as const;
	const step = rowStep(queries);
	/** What `key` and `value` are of, bound window by window. */
	const keysOf = (keys: Attention["kv"], first: number, count: number) => {
		const rows = [[keys.tensor, keys.stride]] as const;
		return parted(first, count, rowsBound(gpu, rows, label, FOUR)).map((part) => {
			const at = part.first % rowStep(rows);
			const tensor = bound(keys.tensor, keys.stride, part.first - at, part.first + part.count);
			return { kv: { ...keys, tensor }, key: at, keys: part.count };
		});
	};
	const shares = [
		...keysOf(kv, row.key, row.keys),
		...(own ? keysOf({ tensor: q, stride: qStride, ...own }, row.token, row.tokens) : []),
	];
	for (const { first, count } of parted(row.token, row.tokens, rowsBound(gpu, queries, label))) {
		const at = first % step;
		const part = {
			...op,
			own: undefined,
			q: bound(q, qStride, first - at, first + count),
			y: bound(y, width, first - at, first + count),
		};
		const sums = shares.length > 1 ? pass.scratch("attention sums", [at + count, heads, 2]) : undefined;
		for (const [i, { kv, key, keys }] of shares.entries()) {
			const rows = [{ ...row, token: at, tokens: count, key, keys }];
			const place = i === 0 ? "first" : i === shares.length - 1 ? "last" : "middle";
			attend(pass, { ...part, kv }, { rows, table: pass.rows(ROW, rows) }, sums ? place : "all", sums);
		}
	}
}

/** `rows` rows of `tokens` queries over `keys` keys each, their own tokens among them with `own`. */
export interface AttentionShape {
	rows: number;
	tokens: number;
	keys: number;
	heads: number;
	headDim: number;
	own: boolean;
}

export const attentionTunable: Tunable<AttentionShape, AttentionVariant> = {
	key: ({ tokens, heads, headDim, own }) =>
		`${own ? "self" : "cross"} attention ${heads}x${headDim} t${bucket(tokens)}`,
	variants: attentionVariants,
	fits: (_, { form }, { headDim }) => form !== "quad" || headDim % 16 === 0,
	/**
	 * Quads where four lanes are the whole machine, as in matmul, many tokens an invocation on other CPUs. One for all
	 * where a driver takes the square of a program's branches to compile it (Mesa's llvmpipe, whose programs are LLVM's
	 * coroutines), of half as many tokens: as fast there. Two variants else, since a large one compiles for as long as a
	 * scale runs: it is left to where there are many keys as well as tokens.
	 */
	untuned(gpu, { tokens, keys, headDim }) {
		const large = tokens > 8 && keys > 32;
		if (inQuads(gpu)) return headDim % 16 ? "token 1" : large ? "quad 4" : "quad 1";
		if (gpu.facts.late) return "token 4";
		if (!gpu.facts.software) return "token 1";
		return large ? "token 8" : "token 2";
	},
	trial({ rows, tokens, keys, heads, headDim, own }) {
		const width = heads * headDim;
		const cached = keys - (own ? tokens : 0);
		const qStride = own ? 3 * width : width;
		const list = range(rows).map((row) => ({
			token: row * tokens,
			tokens,
			cond: 0,
			rope: 0,
			key: row * cached,
			keys: cached,
			append: 0,
		}));
		return {
			name: `${own ? "self" : "cross"} attention ${rows}x${tokens}x${keys} ${heads}x${headDim}`,
			flops: 4 * rows * tokens * keys * width,
			inputs: [{ size: rows * tokens * qStride }, { size: Math.max(1, rows * cached) * 2 * width }],
			outputs: rows * tokens * width,
			row: width,
			record: (pass, [q, kv], y, variant) =>
				attention(pass, {
					q,
					qStride,
					kv: { tensor: kv, stride: 2 * width, key: 0, value: width },
					own: own ? { key: width, value: 2 * width } : undefined,
					y,
					heads,
					headDim,
					scale: headDim ** -0.5,
					rows: rowTable(pass, list),
					label: "tune attention",
					variant,
				}),
		};
	},
};
