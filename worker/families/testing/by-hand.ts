/** The fifth family in f64 by its formulas alone: two scales of a picture, the most likely codes. */
import type { FifthConfig } from "./fifth/config.ts";
import { attend, gelu, linear, silu, sum, tokensOf, type Vector, type WeightOf } from "./random-model.ts";

/** [rows, tokens, ..] of one scale, by guidance row where there are rows. */
export interface ScaleByHand {
	input: number[];
	blocks: number[][];
	rows: number[];
	guided: number[];
	codes: number[];
	/** [channels, cells] of the whole latent so far. */
	canvas: number[];
}

/** `weight`: by its whole name. `guidance`: t in (1 + t) c - t u, by scale. */
export function pictureByHand(
	config: FifthConfig,
	weight: WeightOf,
	label: number,
	guidance: readonly number[],
): ScaleByHand[] {
	const { width: C, depth, heads, classes, codebook } = config;
	const t = (name: string) => weight(`transformer.${name}`);
	const row = (table: ArrayLike<number>, index: number, size = C): Vector => tokensOf(table, size)[index];
	const add = (...all: readonly ArrayLike<number>[]): Vector =>
		Float64Array.from(all[0], (_, i) => all.reduce((total, v) => total + v[i], 0));
	const norm = (x: Vector, name: string): Vector => {
		const r = 1 / Math.sqrt(sum(x.map((v) => v * v)) / C + config.normEps);
		return x.map((v, i) => v * r * t(`${name}.weight`)[i]);
	};
	const part = (vectors: Vector, index: number) => vectors.subarray(index * C, (index + 1) * C);
	const modulated = (x: Vector, scale: Vector, shift: Vector) => x.map((v, i) => v * (1 + scale[i]) + shift[i]);
	const added = (x: Vector, gate: Vector, y: Vector) => x.map((v, i) => v + gate[i] * y[i]);

	const conditions = [label, classes].map((index) => row(t("class_emb.weight"), index));
	/** By guidance row, then block: the keys and values of all tokens so far. */
	const keys = conditions.map(() => Array.from({ length: depth }, (): Vector[] => []));
	const block = (guidanceRow: number, index: number, tokens: Vector[]): Vector[] => {
		const b = (name: string) => `blocks.${index}.${name}`;
		const vectors = linear(t, silu(conditions[guidanceRow]), b("ada_lin.1"));
		const [gamma1, gamma2, scale1, scale2, shift1, shift2] = [0, 1, 2, 3, 4, 5].map((i) => part(vectors, i));
		const bias = [...t(b("attn.q_bias")), ...new Float32Array(C), ...t(b("attn.v_bias"))];
		const projected = tokens.map((x) => {
			const qkv = linear(t, modulated(norm(x, b("norm1")), scale1, shift1), b("attn.mat_qkv"), bias);
			for (let i = 0; i < C; i++) qkv[i] *= 0.25 / Math.sqrt(C / heads);
			return qkv;
		});
		const seen = keys[guidanceRow][index];
		seen.push(...projected);
		return tokens.map((x, i) => {
			const middle = added(x, gamma1, linear(t, attend(projected[i], seen, heads), b("attn.proj")));
			const inner = gelu(linear(t, modulated(norm(middle, b("norm2")), scale2, shift2), b("ffn.fc1")));
			return added(middle, gamma2, linear(t, inner, b("ffn.fc2")));
		});
	};
	const logits = (guidanceRow: number, x: Vector): Vector => {
		const vectors = linear(t, silu(conditions[guidanceRow]), "head_nm.ada_lin.1");
		return linear(t, modulated(norm(x, "head_norm"), part(vectors, 0), part(vectors, 1)), "head");
	};

	let canvas = tokensOf(new Float64Array(4 * codebook.channels), codebook.channels);
	let first = 0;
	return [0, 1].map((scale): ScaleByHand => {
		const cells = scale === 0 ? 1 : 4;
		// The last grid is 2 x 2: a code of the first scale stands on all of it, and the second scale sees it as it is.
		const inputs = conditions.map((condition) =>
			Array.from({ length: cells }, (_, i) => {
				const seen = scale === 0 ? add(condition, t("pos_start")) : linear(t, canvas[i], "word_embed");
				return add(seen, row(t("pos_1LC"), first + i), row(t("lvl_embed.weight"), scale));
			}),
		);
		first += cells;
		let x = inputs;
		const blocks = Array.from({ length: depth }, (_, index) => {
			x = x.map((tokens, guidanceRow) => block(guidanceRow, index, tokens));
			return flat(x.flat());
		});
		const rows = x.map((tokens, guidanceRow) => tokens.map((token) => logits(guidanceRow, token)));
		const w = guidance[scale];
		const guided = rows[0].map((c, i) => c.map((v, k) => (1 + w) * v - w * rows[1][i][k]));
		const codes = guided.map((values) => values.indexOf(Math.max(...values)));
		const map = Array.from({ length: 4 }, (_, i) =>
			row(weight("vae.quantize.embedding.weight"), codes[cells === 1 ? 0 : i], codebook.channels),
		);
		const convolved = conv2x2(weight, `vae.quantize.quant_resi.qresi_ls.${scale}`, map);
		canvas = canvas.map((held, i) =>
			add(
				held,
				map[i].map((v, k) => v / 2 + convolved[i][k] / 2),
			),
		);
		const shown = Array.from({ length: codebook.channels }, (_, k) => canvas.map((cell) => cell[k])).flat();
		return { input: flat(inputs.flat()), blocks, rows: flat(rows.flat()), guided: flat(guided), codes, canvas: shown };
	});
}

const flat = (vectors: readonly Vector[]): number[] => vectors.flatMap((vector) => [...vector]);

/** A 3x3 convolution of a 2 x 2 map with zeros around it. */
function conv2x2(weight: WeightOf, name: string, map: readonly Vector[]): Vector[] {
	const [w, bias] = [weight(`${name}.weight`), weight(`${name}.bias`)];
	const channels = map[0].length;
	return map.map((_, cell) => {
		const [y, x] = [Math.floor(cell / 2), cell % 2];
		return Float64Array.from({ length: channels }, (_, out) => {
			let total = bias[out];
			map.forEach((from, other) => {
				const [dy, dx] = [Math.floor(other / 2) - y + 1, (other % 2) - x + 1];
				for (let k = 0; k < channels; k++) total += w[((out * channels + k) * 3 + dy) * 3 + dx] * from[k];
			});
			return total;
		});
	});
}
