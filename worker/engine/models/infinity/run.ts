import { copy, gatherRows } from "../../../../kernels/gather.ts";
import type { Gpu, Pass, Tensor } from "../../../../kernels/gpu.ts";
import { resize } from "../../../../kernels/interpolate.ts";
import { matmul } from "../../../../kernels/matmul.ts";
import { layerNorm } from "../../../../kernels/norm.ts";
import { drawPositions, drawProjection, project, type ReduceRow, scatterRows, squaredNorms } from "../../../../kernels/reduce.ts";
import { infinityRopeTable } from "../../../../kernels/rope.ts";
import { type Row, rowTable } from "../../../../kernels/rows.ts";
import { codeValues, sampleBits } from "../../../../kernels/sample.ts";
import type { InfinityConfig } from "../../../../model-shards/infinity-config.ts";
import type { Schedule } from "../../../protocol/model-info.ts";
import type { Reduction, RunStep, StagePlan } from "../../../protocol/plan.ts";
import { packCodes, unpackCodes } from "../../codes.ts";
import { channelsFirst, type Taps } from "../../tap.ts";
import type { RgbImage } from "../../types.ts";
import type { Weights } from "../../weights.ts";
import { ConvDecoder } from "../conv-decoder.ts";
import { block, type BlockWork, blockWork } from "./blocks.ts";
import { COND, type Condition, condition, UNCOND } from "./condition.ts";

type Draws = ReadonlyMap<string, Float32Array | Int32Array>;

/** Workspace of reduced spans. */
interface Reduced {
	x: Tensor;
	matrices: Tensor;
	norms: Tensor;
	keys: Tensor;
	positions: Tensor;
}

/** Device state of one picture: latent, KV cache, activations. Its memory follows from plan and schedule and is freed by `destroy`. */
export class InfinityRun {
	#gpu: Gpu;
	#config: InfinityConfig;
	#weights: Weights;
	#grids: Schedule["grids"];
	#plan: StagePlan;
	#seed: number;
	#draws: Draws;
	#taps: Taps;
	#owned: Tensor[] = [];
	#condition: Condition | undefined;
	#decoder: ConvDecoder;
	#work: BlockWork;
	#rope: { table: Tensor; positions: number };
	/** By block: [2 * capacity, 2 * width]; a guidance row's keys start at row * capacity. */
	#caches: Tensor[];
	#capacity: number;
	/** Keys cached so far, by block: reduced spans cache fewer. */
	#cached: number[];
	/** Outputs that later restorations fill from, by `scale:block boundary`. */
	#retained = new Map<string, { tensor: Tensor; conds: number[] }>();
	#x: Tensor;
	#reduced: Reduced | undefined;
	#logits: Tensor;
	#mixed: Tensor;
	#codes: Tensor;
	#values: Tensor;
	/** [final height * width, bits]: the sum of the codes so far. */
	#latent: Tensor;
	/** [height * width, bits] of the scale at hand: next input, or preview latent. */
	#resized: Tensor;
	#embedded: Tensor;

	constructor(gpu: Gpu, config: InfinityConfig, weights: Weights, schedule: Schedule, plan: StagePlan, seed: number, draws: Draws, taps: Taps) {
		this.#gpu = gpu;
		this.#config = config;
		this.#weights = weights;
		this.#grids = schedule.grids;
		this.#plan = plan;
		this.#seed = seed;
		this.#draws = draws;
		this.#taps = taps;
		const { width, bits, depth } = config;
		const make = (label: string, shape: number[]) => {
			const tensor = gpu.tensor(label, shape);
			this.#owned.push(tensor);
			return tensor;
		};
		const runs = plan.steps.flatMap((step, scale) => (step.kind === "run" ? [{ step, scale, tokens: this.#tokens(scale) }] : []));
		const tokens = Math.max(...runs.map((run) => run.tokens));
		const batch = Math.max(...runs.map((run) => run.tokens * rowsOf(run.step).length));
		const finalCells = this.#tokens(this.#grids.length - 1);
		this.#capacity = runs.reduce((sum, run) => sum + run.tokens, 0);
		this.#cached = Array.from({ length: depth }, () => 0);
		this.#work = blockWork(make, config, batch);
		this.#caches = Array.from({ length: depth }, (_, i) => make(`kv cache ${i}`, [2 * this.#capacity, 2 * width]));
		const reach = config.ropeReach[plan.schedule];
		const rope = infinityRopeTable(this.#grids, width / config.heads, reach);
		this.#rope = { table: make("rope", [rope.length]), positions: this.#firstToken(this.#grids.length) };
		gpu.device.queue.writeBuffer(this.#rope.table.buffer, 0, rope);
		taps.give("rope.cache", [2, this.#rope.positions, width / config.heads / 2], () => rope);
		this.#x = make("x", [batch, width]);
		this.#logits = make("logits", [batch, 2 * bits]);
		this.#mixed = make("mixed logits", [tokens, 2 * bits]);
		this.#codes = make("codes", [tokens, Math.ceil(bits / 32)]);
		this.#values = make("code values", [tokens, bits]);
		this.#latent = make("latent", [finalCells, bits]);
		this.#resized = make("resized latent", [finalCells, bits]);
		this.#embedded = make("embedded", [tokens, width]);
		const spans = runs.flatMap(({ step, tokens }) => step.reduce.map((r) => ({ count: r.count, tokens, rows: rowsOf(step).length, r })));
		if (spans.length > 0) {
			const count = Math.max(...spans.map((s) => s.count * s.rows));
			this.#reduced = {
				x: make("reduced x", [count, width]),
				matrices: make("projections", [Math.max(...spans.map((s) => s.count * s.tokens * s.rows))]),
				norms: make("squared norms", [batch]),
				keys: make("race keys", [batch]),
				positions: make("positions", [count]),
			};
			for (const { r } of spans) {
				const key = `${r.rest.from}:${r.blocks[1]}`;
				const step = plan.steps[r.rest.from] as RunStep;
				const conds = rowsOf(step);
				if (!this.#retained.has(key)) this.#retained.set(key, { tensor: make(`retained ${key}`, [conds.length * this.#tokens(r.rest.from), width]), conds });
			}
		}
		const [height, w] = this.#grids[this.#grids.length - 1];
		this.#decoder = new ConvDecoder(gpu, weights, config.vae, bits, [height, w]);
	}

	/** Encodes the prompt (ids), or takes `text.feats` of the draws in its place. */
	async prepare(ids: readonly number[]): Promise<void> {
		const features = this.#draws.get("text.feats");
		const pass = this.#gpu.pass("condition");
		const text = features ? { features: Float32Array.from(features) } : { ids };
		this.#condition = condition(this.#gpu, pass, this.#config, this.#weights, text, this.#taps);
		pass.submit();
		await this.#taps.flush();
	}

	/** Runs the blocks of a scale; with `sample`, also head and sampling, and returns the packed codes. */
	async scale(scale: number, sample: boolean): Promise<Uint8Array<ArrayBuffer> | null> {
		const step = this.#plan.steps[scale] as RunStep;
		const pass = this.#gpu.pass(`scale ${scale}`);
		this.#embed(pass, scale, step);
		this.#blocks(pass, scale, step);
		if (sample) this.#sample(pass, scale, step);
		pass.submit();
		await this.#taps.flush();
		if (!sample) return null;
		const tokens = this.#tokens(scale);
		const [words] = await this.#gpu.read([{ ...this.#codes, bytes: Math.ceil(this.#config.bits / 32) * 4 * tokens }]);
		return packCodes(new Uint32Array(words), tokens, this.#config.bits);
	}

	/** Adds a scale's codes to the latent and prepares the next scale's input. */
	async advance(scale: number, codes: Uint8Array): Promise<void> {
		const { bits, width } = this.#config;
		const tokens = this.#tokens(scale);
		const last = this.#grids.length - 1;
		this.#gpu.device.queue.writeBuffer(this.#codes.buffer, 0, unpackCodes(codes, tokens, bits));
		const pass = this.#gpu.pass(`advance ${scale}`);
		codeValues(pass, { codes: this.#codes, values: this.#values, bits, tokens, label: "code values" });
		resize(pass, { x: this.#values, y: this.#latent, how: "bilinear", from: [this.#image(scale)], to: [this.#image(last)], channels: bits, add: true, label: "sum codes" });
		const [height, w] = this.#grids[last];
		this.#taps.keep(pass, `s${scale}.summed_codes`, this.#latent, [bits, height, w], { view: channelsFirst(bits) });
		if (this.#plan.steps[scale + 1]?.kind === "run") {
			const next = this.#tokens(scale + 1);
			resize(pass, { x: this.#latent, y: this.#resized, how: "bilinear", from: [this.#image(last)], to: [this.#image(scale + 1)], channels: bits, label: "next input" });
			this.#taps.keep(pass, `s${scale + 1}.word_embed_in`, this.#resized, [1, next, bits]);
			matmul(pass, { x: this.#resized, y: this.#embedded, ...this.#weights.linear("transformer.word_embed"), m: next, k: bits, n: width, label: "word_embed" });
		}
		pass.submit();
		await this.#taps.flush();
	}

	/** The latent as it is, decoded at a scale's own grid (the last scale's is the finished picture). */
	async decode(scale: number): Promise<RgbImage> {
		const [height, width] = this.#grids[scale];
		const last = this.#grids.length - 1;
		const pass = this.#gpu.pass(`decode ${scale}`);
		const full = scale === last;
		if (!full) {
			resize(pass, { x: this.#latent, y: this.#resized, how: "bilinear", from: [this.#image(last)], to: [this.#image(scale)], channels: this.#config.bits, label: "preview latent" });
		}
		this.#decoder.record(pass, full ? this.#latent : this.#resized, height, width);
		const [h, w] = [height * this.#decoder.patch, width * this.#decoder.patch];
		if (full) {
			this.#taps.keep(pass, "summed_codes_final", this.#latent, [this.#config.bits, height, width], { view: channelsFirst(this.#config.bits) });
			this.#taps.keep(pass, "image", this.#decoder.output, [4, h, w], { view: unitRgb, shape: [3, h, w] });
		}
		pass.submit();
		await this.#taps.flush();
		const [rgba] = await this.#gpu.read([{ ...this.#decoder.rgba, bytes: h * w * 4 }]);
		return { width: w, height: h, data: dropAlpha(new Uint8Array(rgba)) };
	}

	destroy(): void {
		this.#taps.destroy();
		this.#condition?.destroy();
		this.#decoder.destroy();
		this.#gpu.free(...this.#owned.splice(0));
	}

	/** x = embedded codes (the same for every guidance row) or the start tokens, plus the level embedding. */
	#embed(pass: Pass, scale: number, step: RunStep): void {
		const { width } = this.#config;
		const tokens = this.#tokens(scale);
		const conds = rowsOf(step);
		const index = scale === 0 ? conds : conds.flatMap(() => Array.from({ length: tokens }, (_, i) => i));
		const level = this.#weights.get("transformer.lvl_embed.weight");
		gatherRows(pass, {
			x: scale === 0 ? this.#must().start : this.#embedded,
			index: pass.table(index),
			y: this.#x,
			count: index.length,
			width,
			extra: { table: level, index: pass.table(index.map(() => scale)) },
			label: "level embedding",
		});
	}

	#blocks(pass: Pass, scale: number, step: RunStep): void {
		const { depth, width, heads } = this.#config;
		const tokens = this.#tokens(scale);
		const conds = rowsOf(step);
		if (step.reduce[0]?.blocks[0] !== 0) this.#taps.keep(pass, `s${scale}.block_in`, this.#x, [conds.length, tokens, width]);
		for (let from = 0; from < depth; ) {
			const span = step.reduce.find((r) => r.blocks[0] === from);
			const to = span ? span.blocks[1] : Math.min(depth, ...step.reduce.map((r) => r.blocks[0]).filter((start) => start > from));
			if (span) this.#reduce(pass, scale, span, conds);
			const x = span ? (this.#reduced as Reduced).x : this.#x;
			const count = span ? span.count : tokens;
			if (span && from === 0) this.#taps.keep(pass, `s${scale}.block_in`, x, [conds.length, count, width]);
			for (let index = from; index < to; index++) {
				const { self, cross } = this.#rowTables(pass, scale, index, conds, count);
				block(pass, {
					gpu: this.#gpu, config: this.#config, weights: this.#weights, condition: this.#must(), block: index, x, work: this.#work,
					cache: this.#caches[index], rope: this.#rope, self, cross, taps: this.#taps, name: `s${scale}.blk${index}`,
				});
				this.#cached[index] += count;
				this.#taps.keep(pass, `s${scale}.blk${index}.out`, x, [conds.length, count, width]);
				this.#tapCache(pass, scale, index, conds, heads);
				const kept = span && index + 1 < to ? undefined : this.#retained.get(`${scale}:${index + 1}`);
				if (kept && !span) copy(pass, { x: this.#x, y: kept.tensor, count: conds.length * tokens * width, label: "retain" });
			}
			if (span) {
				this.#restore(pass, scale, span, conds);
				const kept = this.#retained.get(`${scale}:${to}`);
				if (kept) copy(pass, { x: this.#x, y: kept.tensor, count: conds.length * tokens * width, label: "retain" });
				if (to === depth) this.#taps.keep(pass, `s${scale}.head_in`, this.#x, [conds.length, tokens, width]);
			}
			from = to;
		}
	}

	#rowTables(pass: Pass, scale: number, index: number, conds: number[], count: number) {
		const text = this.#must().textTokens;
		const self: Row[] = conds.map((cond, row) => ({
			token: row * count, tokens: count, cond, rope: this.#firstToken(scale),
			key: cond * this.#capacity, keys: this.#cached[index] + count, append: cond * this.#capacity + this.#cached[index],
		}));
		const cross = self.map((row) => ({ ...row, key: row.cond * text, keys: text }));
		return { self: rowTable(pass, self), cross: rowTable(pass, cross) };
	}

	/** The span input to `count` tokens a row, and the positions their outputs will be written to. */
	#reduce(pass: Pass, scale: number, span: Reduction, conds: number[]): void {
		const { width } = this.#config;
		const work = this.#reduced as Reduced;
		const tokens = this.#tokens(scale);
		const rows = this.#reduceRows(scale, span, conds);
		const name = this.#spanName(scale, span);
		const batch = conds.length * tokens;
		this.#taps.keep(pass, `${name}.in`, this.#x, [conds.length, tokens, width]);
		squaredNorms(pass, { x: this.#x, norms: work.norms, tokens: batch, width, label: `${name} norms` });
		this.#taps.keep(pass, `${name}.prob`, work.norms, [conds.length, tokens], { view: (norms) => shares(norms, tokens) });
		const matrices = this.#draws.get(`${name}.Q`);
		if (!matrices) drawProjection(pass, { matrices: work.matrices, rows, label: `${name} Q` });
		project(pass, { x: this.#x, matrices: matrices ? this.#drawn(`${name}.Q`, matrices) : work.matrices, y: work.x, width, rows, label: `${name} project` });
		this.#taps.keep(pass, `${name}.proj`, work.x, [conds.length, span.count, width]);
		if (!this.#draws.has(`${name}.rep_idx`)) drawPositions(pass, { norms: work.norms, keys: work.keys, positions: work.positions, rows, label: `${name} positions` });
	}

	/** Fills the full length from an earlier scale, then writes the kept tokens over it. */
	#restore(pass: Pass, scale: number, span: Reduction, conds: number[]): void {
		const { width } = this.#config;
		const work = this.#reduced as Reduced;
		const rest = this.#retained.get(`${span.rest.from}:${span.blocks[1]}`);
		if (!rest) throw new Error(`Scale ${span.rest.from} kept nothing for blocks up to ${span.blocks[1]}.`);
		const name = this.#spanName(scale, span);
		const positions = this.#draws.get(`${name}.rep_idx`);
		resize(pass, {
			x: rest.tensor, y: this.#x, how: span.rest.resize, channels: width,
			from: conds.map((cond) => this.#image(span.rest.from, rest.conds.indexOf(cond))),
			to: conds.map((_, row) => this.#image(scale, row)),
			label: `${name} rest`,
		});
		scatterRows(pass, {
			x: work.x, positions: positions ? this.#drawn(`${name}.rep_idx`, positions) : work.positions, y: this.#x, width,
			rows: this.#reduceRows(scale, span, conds), label: `${name} write`,
		});
	}

	#reduceRows(scale: number, span: Reduction, conds: number[]): ReduceRow[] {
		const tokens = this.#tokens(scale);
		return conds.map((cond, row) => ({
			token: row * tokens, tokens, out: row * span.count, count: span.count, matrix: row * tokens * span.count,
			seed: this.#seed, scale, stream: span.blocks[0] * 2 + cond,
		}));
	}

	#sample(pass: Pass, scale: number, step: RunStep): void {
		const { width, bits, normEps } = this.#config;
		const tokens = this.#tokens(scale);
		const conds = rowsOf(step);
		const rows = rowTable(pass, conds.map((cond, row): Row => ({ token: row * tokens, tokens, cond, rope: 0, key: 0, keys: 0, append: 0 })));
		const after = { kind: "modulate" as const, table: this.#must().headModulation, stride: 2 * width, scale: 0, shift: width };
		layerNorm(pass, { x: this.#x, y: this.#work.normed, width, eps: normEps, rows, after, label: "head norm" });
		matmul(pass, { x: this.#work.normed, y: this.#logits, ...this.#weights.linear("transformer.head"), m: rows.tokens, k: width, n: 2 * bits, label: "head" });
		this.#taps.keep(pass, `s${scale}.logits_pre`, this.#logits, [conds.length, tokens, 2 * bits]);
		const cond = Math.max(0, conds.indexOf(COND)) * tokens;
		const uncond = Math.max(0, conds.indexOf(UNCOND)) * tokens;
		const { guidance, tau, topK, topP } = step;
		sampleBits(pass, {
			logits: this.#logits, mixed: this.#mixed, codes: this.#codes, bits,
			rows: [{ cond, uncond, tokens, out: 0, guidance, tau, topK, topP, seed: this.#seed, scale, branch: 0 }],
			label: "sample bits",
		});
		this.#taps.keep(pass, `s${scale}.logits_post`, this.#mixed, [1, tokens * bits, 2]);
	}

	#tapCache(pass: Pass, scale: number, index: number, conds: number[], heads: number): void {
		const { width } = this.#config;
		for (const [part, at] of [["k_cache", 0], ["v_cache", width]] as const) {
			const name = `s${scale}.blk${index}.${part}`;
			if (!this.#taps.wants(name)) continue;
			// The ranges of the rows lie `capacity` apart: the copy spans them all and the view picks its part.
			const keys = this.#cached[index];
			const first = conds[0] * this.#capacity;
			const span = (conds[conds.length - 1] - conds[0]) * this.#capacity + keys;
			const view = (data: Float32Array) => cacheByHead(data, conds.map((cond) => (cond - conds[0]) * this.#capacity), keys, heads, width, at);
			this.#taps.keep(pass, name, this.#caches[index], [span, 2 * width], { from: first * 2 * width, view, shape: [conds.length, heads, keys, width / heads] });
		}
	}

	/** Given draws as a tensor of this submission, freed with the run. */
	#drawn(name: string, data: Float32Array | Int32Array): Tensor {
		const tensor = this.#gpu.upload(name, [data.length], data.slice() as Float32Array<ArrayBuffer>);
		this.#owned.push(tensor);
		return tensor;
	}

	#spanName = (scale: number, span: Reduction) => `s${scale}.c${Math.floor(span.blocks[0] / this.#config.chunkBlocks)}`;
	#tokens = (scale: number) => this.#grids[scale][0] * this.#grids[scale][1];
	#firstToken = (scale: number) => this.#grids.slice(0, scale).reduce((sum, [h, w]) => sum + h * w, 0);
	#image = (scale: number, row = 0) => ({ pixel: row * this.#tokens(scale), height: this.#grids[scale][0], width: this.#grids[scale][1] });
	#must(): Condition {
		if (!this.#condition) throw new Error("prepare() comes before the first scale");
		return this.#condition;
	}
}

/** Guidance rows a step computes, in the order of the batch. */
export const rowsOf = (step: RunStep): number[] => (step.rows === "both" ? [COND, UNCOND] : step.rows === "cond" ? [COND] : [UNCOND]);

function cacheByHead(data: Float32Array, starts: number[], keys: number, heads: number, width: number, at: number): Float32Array {
	const headDim = width / heads;
	const out = new Float32Array(starts.length * keys * width);
	let i = 0;
	for (const start of starts) {
		for (let head = 0; head < heads; head++) {
			for (let key = 0; key < keys; key++) {
				for (let c = 0; c < headDim; c++) out[i++] = data[(start + key) * 2 * width + at + head * headDim + c];
			}
		}
	}
	return out;
}

function shares(norms: Float32Array, tokens: number): Float32Array {
	const out = new Float32Array(norms.length);
	for (let row = 0; row < norms.length; row += tokens) {
		const total = norms.subarray(row, row + tokens).reduce((sum, value) => sum + value, 0);
		for (let i = row; i < row + tokens; i++) out[i] = norms[i] / total;
	}
	return out;
}

/** [pixels, 4] in [-1, 1] to [3, pixels] in [0, 1]. */
function unitRgb(data: Float32Array): Float32Array {
	const pixels = data.length / 4;
	const out = new Float32Array(3 * pixels);
	for (let p = 0; p < pixels; p++) for (let c = 0; c < 3; c++) out[c * pixels + p] = (Math.min(1, Math.max(-1, data[p * 4 + c])) + 1) / 2;
	return out;
}

function dropAlpha(rgba: Uint8Array): Uint8Array<ArrayBuffer> {
	const rgb = new Uint8Array((rgba.length / 4) * 3);
	for (let p = 0; p < rgba.length / 4; p++) rgb.set(rgba.subarray(p * 4, p * 4 + 3), p * 3);
	return rgb;
}
