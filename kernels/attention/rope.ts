import { kernel, optional, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import { elements, type Tensor } from "../gpu/tensor.ts";
import { bound, boundWhole, parted, rowStep, rowsBound } from "../gpu/windows.ts";
import { groups } from "../gpu/workgroups.ts";
import { NOWHERE, ROW, type Row, type RowTable, rowTable } from "../tokens/rows.ts";

export interface RotateAndCache {
	/** [tokens, 3 * width]; q and k are changed in place. It and the cache are of any length. */
	qkv: Tensor;
	/** [keys, 2 * width], f32 or f16; without it nothing is stored, whatever the rows say. */
	cache?: Tensor;
	/**
	 * By position cosines of headDim / 2 angles, then their sines, of any length; without it, or `halves`, nothing is
	 * rotated.
	 */
	cosSin?: Tensor;
	/** In place of `cosSin`: angles that differ by condition. */
	halves?: HalvesRotation;
	/**
	 * u32: positions within the scale of the tokens of rows with `selected`; other rows' tokens stand one after the
	 * other.
	 */
	selected?: Tensor;
	/** [heads]; without it nothing is normalised. */
	scaleMul?: Tensor;
	heads: number;
	headDim: number;
	rows: RowTable;
	label: string;
}

/**
 * Channels m and m + headDim / 2 are a pair, and each of the two outputs has an angle of its own (HART, arXiv
 * 2410.10812; with both the same it is LLaMA's rotation): a' = a cos(first) - b sin(first), b' = b cos(second) + a
 * sin(second).
 */
export interface HalvesRotation {
	/** [conds * entries, headDim]: cosines of headDim / 2 angles, then their sines. */
	angles: Tensor;
	entries: number;
	/** u32 [positions, 2]: entries of a position's first and second angles. */
	places: Tensor;
}

const rotating = kernel({
	name: "rotate and cache",
	params: { tokens: "u32", entries: "u32", width4: "u32", d4: "u32", first: "u32?" },
	bindings: {
		qkv: write("vec4f"),
		cache: optional(write("vec4")),
		tokenRow: read("u32"),
		rows: read(ROW),
		cosSin: optional(read("vec2f")),
		angles: optional(read("vec4f")),
		places: optional(read("vec2u")),
		selected: optional(read("u32")),
		scaleMul: optional(read("f32")),
	},
	code: (_, { cache, cosSin, angles, selected, scaleMul }) => `
fn rotate(v: vec4f, c: vec2f, s: vec2f) -> vec4f {
	return vec4f(v.x * c.x - v.y * s.x, v.x * s.x + v.y * c.x, v.z * c.y - v.w * s.y, v.z * s.y + v.w * c.y);
}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let t = p.first + id.x;
	if (t >= p.tokens) { return; }
	let width4 = p.width4;
	let d4 = p.d4;
	let row = rows[tokenRow[t]];
	let local = t - row.token;
	let q = t * 3u * width4 + id.y * d4;
	let k = q + width4;
	let v = k + width4;
	${scaleMul ? NORMALISED : "let qScale = 1.0; let kScale = 1.0;"}
	var position = local;
	${selected ? "if (row.selected > 0u) { position = selected[row.selected - 1u + local]; }" : ""}
	${cache ? "let keyAt = (row.append + local) * 2u * width4 + id.y * d4;" : ""}
	${angles ? HALVES : pairs(cosSin !== undefined)}
	${cache ? stored(cache === "f16" ? "vec4h" : "vec4f") : ""}
}`,
});

const stored = (type: "vec4h" | "vec4f") => `if (row.append == ${NOWHERE}u) { return; }
	for (var i = 0u; i < d4; i++) {
		cache[keyAt + i] = ${type}(qkv[k + i]);
		cache[keyAt + width4 + i] = ${type}(qkv[v + i]);
	}`;

const NORMALISED = `var qq = vec4f(0);
	var kk = vec4f(0);
	for (var i = 0u; i < d4; i++) { qq += qkv[q + i] * qkv[q + i]; kk += qkv[k + i] * qkv[k + i]; }
	let qScale = exp(min(scaleMul[id.y], 4.605170185988092)) / max(sqrt(dot(qq, vec4f(1))), 1e-12);
	let kScale = 1.0 / max(sqrt(dot(kk, vec4f(1))), 1e-12);`;

const pairs = (rotated: boolean) => `
	let angle = (row.rope + position) * 2u * d4;
	let sines = angle + d4;
	for (var i = 0u; i < d4; i++) {
		let c = ${rotated ? "cosSin[angle + i]" : "vec2f(1)"};
		let s = ${rotated ? "cosSin[sines + i]" : "vec2f(0)"};
		qkv[q + i] = rotate(qkv[q + i] * qScale, c, s);
		qkv[k + i] = rotate(qkv[k + i] * kScale, c, s);
	}`;

const HALVES = `
	let half = d4 / 2u;
	let place = (row.cond * p.entries + places[row.rope + position]) * d4;
	for (var i = 0u; i < half; i++) {
		let first = vec2u(place.x + i, place.x + half + i);
		let second = vec2u(place.y + i, place.y + half + i);
		let qa = qkv[q + i] * qScale; let qb = qkv[q + half + i] * qScale;
		qkv[q + i] = qa * angles[first.x] - qb * angles[first.y];
		qkv[q + half + i] = qb * angles[second.x] + qa * angles[second.y];
		let ka = qkv[k + i] * kScale; let kb = qkv[k + half + i] * kScale;
		qkv[k + i] = ka * angles[first.x] - kb * angles[first.y];
		qkv[k + half + i] = kb * angles[second.x] + ka * angles[second.y];
	}`;

/**
 * Attention's side of a fused projection: q and k are L2-normalised by head, q times exp(min(scaleMul, ln 100)), both
 * rotated (channels 2m, 2m+1 by the m-th angle of the token's position, or as `halves` says), k and v copied to the
 * row's cache, where it has one.
 */
export function rotateAndCache(pass: Pass, op: RotateAndCache): void {
	const { qkv, cache, cosSin, rows } = op;
	if (boundWhole(pass.gpu, qkv, cache, cosSin)) rotate(pass, op, 0);
	else for (const row of rows.rows) rotateByWindows(pass, op, row);
}

/** As many tokens of a row at a time as bindings hold, with the place of their keys in the cache and their angles. */
function rotateByWindows(pass: Pass, op: RotateAndCache, row: Row): void {
	const { qkv, cache, heads, headDim, label } = op;
	const width = heads * headDim;
	const own = [[qkv, 3 * width]] as const;
	const kept = cache && ([[cache, 2 * width]] as const);
	const turned = op.cosSin ? rowsBound(pass.gpu, [[op.cosSin, headDim]], label) : Infinity;
	const stores = kept ? rowsBound(pass.gpu, kept, label) : Infinity;
	const held = Math.min(turned, rowsBound(pass.gpu, own, label), stores);
	for (const { first, count } of parted(row.token, row.tokens, held)) {
		const done = first - row.token;
		const at = first % rowStep(own);
		const stored = kept && row.append !== NOWHERE;
		const key = stored ? row.append + done : 0;
		const to = kept ? key % rowStep(kept) : 0;
		const angles = anglesOf(pass, op, row, done, count);
		const part = {
			...row,
			token: at,
			tokens: count,
			rope: angles.rope,
			append: stored ? to : NOWHERE,
			selected: row.selected ? row.selected + done : 0,
		};
		const rows = rowTable(pass, [part], pass.table(new Uint32Array(at + count)));
		rotate(
			pass,
			{
				...op,
				qkv: bound(qkv, 3 * width, first - at, first + count),
				cache: cache && bound(cache, 2 * width, key - to, key + (stored ? count : 1)),
				cosSin: angles.cosSin,
				rows,
			},
			at,
		);
	}
}

/** Angles of `count` tokens of a row behind `done` others, and where the first one's are in what is bound. */
function anglesOf(pass: Pass, { cosSin, headDim, label }: RotateAndCache, row: Row, done: number, count: number) {
	// Those of selected tokens may be any of their scale's.
	const first = row.rope + (row.selected ? 0 : done);
	if (!cosSin || boundWhole(pass.gpu, cosSin)) return { cosSin, rope: first };
	const own = [[cosSin, headDim]] as const;
	const at = first % rowStep(own);
	const most = row.selected ? rowsBound(pass.gpu, own, label) : count;
	const end = Math.min(first + most, elements(cosSin.shape) / headDim);
	return { cosSin: bound(cosSin, headDim, first - at, end), rope: at };
}

/** The tokens from `first` on, which stand there in `qkv`, too. */
function rotate(pass: Pass, op: RotateAndCache, first: number): void {
	const { qkv, cache, cosSin, halves, selected, scaleMul, heads, headDim, rows, label } = op;
	pass.run(rotating, {
		label,
		params: {
			tokens: first + rows.tokens,
			entries: halves?.entries ?? 0,
			width4: (heads * headDim) / 4,
			d4: headDim / 4,
			first,
		},
		bindings: {
			qkv,
			cache,
			tokenRow: rows.tokenRow,
			rows: rows.table,
			cosSin,
			angles: halves?.angles,
			places: halves?.places,
			selected,
			scaleMul,
		},
		groups: [groups(rows.tokens), heads],
	});
}

/**
 * How Infinity brings a grid's positions to those of `reach` (`rope2d_normalized_by_hw` 2, 0 and 1): to the nearest of
 * them; not at all; or as cosines and sines between those of a large grid of the aspect of `reach`.
 */
export const ROPE_SPREADS = ["nearest", "grid", "between"] as const;
export type RopeSpread = (typeof ROPE_SPREADS)[number];

/** Side of the large grid's longer side. */
const LARGE_GRID = 128;

/**
 * cos then sin, [2, positions, headDim / 2], of Infinity's 2D rotary embedding: half of the channels turn with y and
 * half with x.
 */
export function infinityRopeTable(
	grids: readonly (readonly [number, number])[],
	headDim: number,
	reach: readonly [number, number],
	spread: RopeSpread = "nearest",
): Float32Array<ArrayBuffer> {
	const half = headDim / 2;
	const frequencies = Array.from({ length: half / 2 }, (_, m) =>
		Math.fround(1 / Math.fround(10000 ** Math.fround((2 * m) / half))),
	);
	/** Of one place of a side, all frequencies. */
	const turns = (i: number, side: number, axis: 0 | 1, of: (angle: number) => number): number[] => {
		const at = (position: number) => frequencies.map((f) => of(Math.fround(position * f)));
		switch (spread) {
			case "nearest":
				return at(roundHalfEven((i * reach[axis]) / side));
			case "grid":
				return at(i);
			case "between": {
				const large = largeSide(reach, axis);
				const place = side > 1 ? (i * (large - 1)) / (side - 1) : 0;
				const low = Math.floor(place);
				const above = at(Math.min(low + 1, large - 1));
				return at(low).map((value, f) => value + (place - low) * (above[f] - value));
			}
		}
	};
	const side = (count: number, axis: 0 | 1, of: (angle: number) => number) =>
		Array.from({ length: count }, (_, i) => Float32Array.from(turns(i, count, axis, of)));
	const positions = grids.reduce((sum, [height, width]) => sum + height * width, 0);
	const table = new Float32Array(2 * positions * half);
	let at = 0;
	for (const turn of [Math.cos, Math.sin])
		for (const [height, width] of grids) {
			const columns = side(width, 1, turn);
			for (const line of side(height, 0, turn))
				for (const column of columns) {
					table.set(line, at);
					table.set(column, at + half / 2);
					at += half;
				}
		}
	return table;
}

function largeSide([height, width]: readonly [number, number], axis: 0 | 1): number {
	const [own, other] = axis === 0 ? [height, width] : [width, height];
	// The shorter side in the official code's own order of operations: its floor depends on it.
	return own >= other ? LARGE_GRID : Math.floor((LARGE_GRID / other) * own);
}

/**
 * cos then sin, [2, positions, headDim / 2], of STAR's 2D rotary embedding: the side of every scale is spread over 0 ..
 * reach, or, null, counted; the first half of the pairs turns with x, the second with y.
 */
export function starRopeTable(
	grids: readonly (readonly [number, number])[],
	headDim: number,
	reach: number | null,
	theta: number,
): Float32Array<ArrayBuffer> {
	const frequencies = Array.from({ length: headDim / 4 }, (_, m) => theta ** ((-4 * m) / headDim));
	const place = (i: number, side: number) => (reach === null || side === 1 ? i : (i / (side - 1)) * reach);
	const angles: number[] = [];
	for (const [height, width] of grids) {
		for (let y = 0; y < height; y++) {
			for (let x = 0; x < width; x++) {
				for (const at of [place(x, width), place(y, height)]) for (const f of frequencies) angles.push(at * f);
			}
		}
	}
	return Float32Array.from([...angles.map(Math.cos), ...angles.map(Math.sin)]);
}

/** As Python and torch round: a half goes to the even neighbour. */
export function roundHalfEven(value: number): number {
	const low = Math.floor(value);
	if (value - low !== 0.5) return Math.round(value);
	return low % 2 === 0 ? low : low + 1;
}
