import { copy, gatherRows } from "../../../../kernels/gather.ts";
import type { Gpu, Tensor } from "../../../../kernels/gpu.ts";
import type { Pass } from "../../../../kernels/pass.ts";
import { resize } from "../../../../kernels/interpolate.ts";
import { matmul } from "../../../../kernels/matmul.ts";
import { layerNorm } from "../../../../kernels/norm.ts";
import { infinityRopeTable } from "../../../../kernels/rope.ts";
import { rowTable } from "../../../../kernels/rows.ts";
import { codeValues, sampleBits } from "../../../../kernels/sample.ts";
import type { InfinityConfig } from "../../../../model-shards/infinity-config.ts";
import type { Schedule } from "../../../protocol/model-info.ts";
import { packCodes, unpackCodes } from "../../codes.ts";
import { channelsFirst } from "../../tap.ts";
import type { RgbImage } from "../../types.ts";
import type { Weights } from "../../weights.ts";
import { ConvDecoder, MAX_PICTURES } from "../conv-decoder.ts";
import type { Family, JobOptions, Round, Step } from "../family.ts";
import { KeyValueStore } from "../key-value-store.ts";
import { blockRows, cellsIn, layOut, type Part, rowsIn, tokensIn } from "./batch.ts";
import { block } from "./blocks.ts";
import { closeJob, type InfinityJob, openJob, releaseKeys, stores } from "./job.ts";
import { rowsOf } from "./kv-plan.ts";
import { crossBoundary } from "./spans.ts";
import { COND, condOf, InfinityText, ROWS, UNCOND } from "./text.ts";
import { type Need, Workspace } from "./workspace.ts";

/** The Infinity family (arXiv 2412.04431): next-scale prediction of bits, several jobs in one batch. */
export class InfinityModel implements Family<InfinityJob> {
	readonly slots: number;
	readonly maxTokens: number;
	#gpu: Gpu;
	#config: InfinityConfig;
	#schedules: Readonly<Record<string, Schedule>>;
	#weights: Weights;
	#store: KeyValueStore;
	#text: InfinityText;
	#decoder: ConvDecoder;
	#rope: { table: Tensor; positions: number; first: Map<string, number> };
	/** [slots * latentCells, bits]: each job's sum of codes so far, at the size of its last grid. */
	#latents: Tensor;
	#latentCells: number;
	/** [latentCells, bits]: latents at the sizes they are decoded at. */
	#resized: Tensor;
	#work: Workspace | undefined;
	#jobs: (InfinityJob | undefined)[];

	constructor(gpu: Gpu, config: InfinityConfig, schedules: Readonly<Record<string, Schedule>>, weights: Weights, slots: number) {
		const { depth, width, heads, ffn, bits, vae } = config;
		this.slots = slots;
		this.maxTokens = Math.floor(gpu.device.limits.maxStorageBufferBindingSize / 4 / Math.max(ffn, 3 * width, 2 * bits));
		this.#gpu = gpu;
		this.#config = config;
		this.#schedules = schedules;
		this.#weights = weights;
		this.#store = new KeyValueStore(gpu, depth, width);
		this.#text = new InfinityText(gpu, config, weights, this.#store, slots);
		this.#latentCells = Math.max(...Object.values(schedules).map(({ grids }) => area(grids[grids.length - 1])));
		this.#latents = gpu.tensor("latents", [slots * this.#latentCells, bits]);
		this.#resized = gpu.tensor("resized latents", [this.#latentCells, bits]);
		this.#decoder = new ConvDecoder(gpu, weights, vae, bits, this.#latentCells);
		this.#rope = ropeTables(gpu, config, schedules, width / heads);
		this.#jobs = Array.from({ length: slots });
	}

	tokensOf({ job, scale }: Step<InfinityJob>): number {
		const step = job.plan.steps[scale];
		return step.kind === "run" ? rowsOf(step).length * job.tokens[scale] : 0;
	}

	open(options: JobOptions): InfinityJob {
		const slot = this.#jobs.findIndex((job) => job === undefined);
		if (slot === -1) throw new RangeError(`All ${this.slots} slots of the model are taken.`);
		const job = openJob(this.#gpu, this.#config, this.#store, this.#schedules[options.plan.schedule], slot, options);
		try {
			this.#fit([...this.#jobs, job].filter((other) => other !== undefined));
		} catch (error) {
			closeJob(this.#gpu, job, this.#store);
			throw error;
		}
		this.#jobs[slot] = job;
		this.#tapRope(job);
		return job;
	}

	close(job: InfinityJob): void {
		closeJob(this.#gpu, job, this.#store);
		this.#jobs[job.slot] = undefined;
	}

	round(steps: readonly Step<InfinityJob>[]): Round {
		const parts = layOut(steps);
		const work = this.#work as Workspace;
		const pass = this.#gpu.pass(`round of ${parts.map(({ scale }) => scale).join(", ")}`);
		for (const { job } of parts.filter(({ job }) => !job.begun)) {
			this.#text.record(pass, job.text);
			job.begun = true;
		}
		this.#embed(pass, work, parts);
		this.#blocks(pass, work, parts);
		this.#sample(pass, work, parts.filter(({ step }) => step.sample));
		this.#advance(pass, work, parts);
		const words = pass.submit([{ ...work.codes, bytes: 2 * cellsIn(parts) * this.#words * 4 }]);
		for (const { job, scale } of parts) releaseKeys(job, this.#store, scale);
		const pictures = this.#pictures(parts);
		const inOrder = steps.map((step) => parts.find((part) => part.step === step) as Part);
		return {
			codes: words.then(([data]) => inOrder.map((part) => this.#codesOf(part, new Uint32Array(data)))),
			pictures: pictures.then((made) => inOrder.map((part) => made.get(part) ?? [])),
		};
	}

	destroy(): void {
		this.#text.destroy();
		this.#store.destroy();
		this.#decoder.destroy();
		this.#work?.destroy();
		this.#gpu.free(this.#latents, this.#resized, this.#rope.table);
	}

	/** Makes the workspace large enough for any round of these jobs. */
	#fit(jobs: readonly InfinityJob[]): void {
		const sum = (of: (need: Need) => number) => jobs.reduce((total, { most }) => total + of(most), 0);
		const need: Need = {
			// A round takes one step at least, and no more than maxTokens beyond that.
			rows: Math.min(sum(({ rows }) => rows), Math.max(this.maxTokens, ...jobs.map(({ most }) => most.rows))),
			cells: sum(({ cells }) => cells),
			matrix: Math.max(...jobs.map(({ most }) => most.matrix)),
			spans: jobs.some(({ most }) => most.spans),
		};
		if (this.#work?.fits(need)) return;
		const old = this.#work?.need ?? need;
		this.#work?.destroy();
		this.#work = undefined;
		this.#work = new Workspace(this.#gpu, this.#config, {
			rows: Math.max(need.rows, old.rows), cells: Math.max(need.cells, old.cells), matrix: Math.max(need.matrix, old.matrix), spans: need.spans || old.spans,
		});
	}

	/** x = embedded latent (the same for every guidance row) or the start tokens, plus the level embedding. */
	#embed(pass: Pass, work: Workspace, parts: readonly Part[]): void {
		const { width, bits } = this.#config;
		const later = parts.filter(({ scale }) => scale > 0);
		if (later.length > 0) {
			resize(pass, {
				x: this.#latents, y: work.input, how: "bilinear", channels: bits, label: "scale input",
				from: later.map((part) => this.#latent(part.job)), to: later.map((part) => image(part.job, part.scale, part.cell)),
			});
			matmul(pass, { x: work.input, y: work.embedded, ...this.#weights.linear("transformer.word_embed"), m: cellsIn(parts), k: bits, n: width, label: "word_embed" });
		}
		for (const { job, scale, cell, tokens } of parts) {
			if (scale === 0) copy(pass, { x: this.#text.start, from: condOf(job.slot, 0) * width, y: work.embedded, to: cell * width, count: ROWS * width, label: "start" });
			else job.taps.keep(pass, `s${scale}.word_embed_in`, work.input, [1, tokens, bits], { from: cell * bits });
		}
		const index = parts.flatMap(({ scale, cell, tokens, rows }) => (scale === 0 ? rows.map((row) => cell + row) : rows.flatMap(() => Array.from({ length: tokens }, (_, i) => cell + i))));
		const levels = parts.flatMap(({ scale, tokens, rows }) => Array<number>(rows.length * tokens).fill(scale));
		const level = this.#weights.get("transformer.lvl_embed.weight");
		gatherRows(pass, { x: work.embedded, index: pass.table(index), y: work.x[0], count: index.length, width, extra: { table: level, index: pass.table(levels) }, label: "level embedding" });
	}

	#blocks(pass: Pass, work: Workspace, parts: readonly Part[]): void {
		const { depth, width } = this.#config;
		for (let index = 0; index < depth; index++) {
			crossBoundary(pass, this.#config, work, parts, index);
			if (index === 0) for (const part of parts) this.#keep(pass, work, part, `s${part.scale}.block_in`);
			const { self, cross } = blockRows(pass, parts, index, ({ job, scale }) => (this.#rope.first.get(job.plan.schedule) as number) + firstToken(job, scale));
			block(pass, {
				gpu: this.#gpu, config: this.#config, weights: this.#weights, block: index, x: work.x[0], work: work.block,
				modulation: this.#text.modulation[index], kv: this.#store.tensor(index), rope: this.#rope, self, cross,
				parts: parts.map(({ job, scale, at, rows, length }) => ({ taps: job.taps, name: `s${scale}`, at, rows: rows.length, length })),
			});
			for (const part of parts) {
				for (const row of part.rows) if (stores(part.job, row, part.scale)) part.job.keys[row][index].used += part.length;
				this.#keep(pass, work, part, `s${part.scale}.blk${index}.out`);
				this.#tapKeys(pass, part, index, width);
			}
		}
		crossBoundary(pass, this.#config, work, parts, depth);
	}

	#sample(pass: Pass, work: Workspace, parts: readonly Part[]): void {
		if (parts.length === 0) return;
		const { width, bits, normEps } = this.#config;
		const rows = rowTable(pass, rowsIn(parts));
		const after = { kind: "modulate" as const, table: this.#text.headModulation, stride: 2 * width, scale: 0, shift: width };
		layerNorm(pass, { x: work.x[0], y: work.block.normed, width, eps: normEps, rows, after, label: "head norm" });
		matmul(pass, { x: work.block.normed, y: work.logits, ...this.#weights.linear("transformer.head"), m: tokensIn(parts), k: width, n: 2 * bits, label: "head" });
		sampleBits(pass, {
			logits: work.logits, mixed: work.mixed, codes: work.codes, bits, label: "sample bits",
			rows: parts.map(({ job, run, scale, tokens, rows, at, sampledAt }) => ({
				cond: at + Math.max(0, rows.indexOf(COND)) * tokens, uncond: at + Math.max(0, rows.indexOf(UNCOND)) * tokens, tokens, out: sampledAt,
				guidance: run.guidance, tau: run.tau, topK: run.topK, topP: run.topP, seed: job.seed, scale, branch: 0,
			})),
		});
		for (const { job, scale, tokens, rows, at, sampledAt } of parts) {
			job.taps.keep(pass, `s${scale}.logits_pre`, work.logits, [rows.length, tokens, 2 * bits], { from: at * 2 * bits });
			job.taps.keep(pass, `s${scale}.logits_post`, work.mixed, [1, tokens * bits, 2], { from: sampledAt * 2 * bits });
		}
	}

	/** Adds the codes of the scale, sampled or given, to the latents. */
	#advance(pass: Pass, work: Workspace, parts: readonly Part[]): void {
		const { bits } = this.#config;
		for (const { step: { forced }, cell, tokens } of parts) {
			// Written before the pass runs; sampled codes of such a step go elsewhere.
			if (forced) this.#gpu.device.queue.writeBuffer(work.codes.buffer, cell * this.#words * 4, unpackCodes(forced, tokens, bits));
		}
		codeValues(pass, { codes: work.codes, values: work.values, bits, tokens: cellsIn(parts), label: "code values" });
		for (const first of [true, false]) {
			const some = parts.filter(({ scale }) => (scale === 0) === first);
			if (some.length === 0) continue;
			resize(pass, {
				x: work.values, y: this.#latents, how: "bilinear", channels: bits, add: !first, label: "sum codes",
				from: some.map((part) => image(part.job, part.scale, part.cell)), to: some.map((part) => this.#latent(part.job)),
			});
		}
		for (const { job, scale } of parts) {
			const { pixel, height, width } = this.#latent(job);
			job.taps.keep(pass, `s${scale}.summed_codes`, this.#latents, [bits, height, width], { from: pixel * bits, view: channelsFirst(bits) });
		}
	}

	/** Decodes what the steps ask for, as many pictures at once as one of full size takes room. */
	async #pictures(parts: readonly Part[]): Promise<Map<Part, RgbImage[]>> {
		const wanted = parts.flatMap((part) => part.step.pictures.map((scale) => ({ part, scale, cells: area(part.job.grids[scale]) })));
		const groups: (typeof wanted)[] = [];
		for (const picture of wanted) {
			const group = groups[groups.length - 1];
			const room = group && group.length < MAX_PICTURES && group.reduce((sum, { cells }) => sum + cells, picture.cells) <= this.#latentCells;
			if (room) group.push(picture);
			else groups.push([picture]);
		}
		const read = await Promise.all(groups.map((group) => this.#decode(group)));
		const made = new Map<Part, RgbImage[]>();
		groups.forEach((group, g) => group.forEach(({ part }, i) => made.set(part, [...(made.get(part) ?? []), read[g][i]])));
		return made;
	}

	async #decode(group: readonly { part: Part; scale: number; cells: number }[]): Promise<RgbImage[]> {
		const { bits } = this.#config;
		const { patch, rgba } = this.#decoder;
		const pass = this.#gpu.pass(`pictures of ${group.map(({ scale }) => scale).join(", ")}`);
		let cell = 0;
		const images = group.map(({ part, scale, cells }) => image(part.job, scale, (cell += cells) - cells));
		resize(pass, { x: this.#latents, y: this.#resized, how: "bilinear", channels: bits, from: group.map(({ part }) => this.#latent(part.job)), to: images, label: "picture latents" });
		this.#decoder.record(pass, this.#resized, images);
		group.forEach(({ part: { job }, scale }, i) => {
			const { pixel, height, width } = images[i];
			if (scale !== job.grids.length - 1) return;
			job.taps.keep(pass, "summed_codes_final", this.#resized, [bits, height, width], { from: pixel * bits, view: channelsFirst(bits) });
			const [h, w] = [height * patch, width * patch];
			job.taps.keep(pass, "image", this.#decoder.output, [4, h, w], { from: pixel * patch ** 2 * 4, view: unitRgb, shape: [3, h, w] });
		});
		const [data] = await pass.submit([{ ...rgba, bytes: cell * patch ** 2 * 4 }]);
		return images.map(({ pixel, height, width }) => {
			const bytes = new Uint8Array(data, pixel * patch ** 2 * 4, height * width * patch ** 2 * 4);
			return { width: width * patch, height: height * patch, data: dropAlpha(bytes) };
		});
	}

	#codesOf({ step, sampledAt, tokens }: Part, words: Uint32Array): Uint8Array<ArrayBuffer> | null {
		if (!step.sample) return null;
		return packCodes(words.subarray(sampledAt * this.#words, (sampledAt + tokens) * this.#words), tokens, this.#config.bits);
	}

	/** A part's residual stream. */
	#keep(pass: Pass, work: Workspace, { job, at, rows, length }: Part, name: string): void {
		const { width } = this.#config;
		job.taps.keep(pass, name, work.x[0], [rows.length, length, width], { from: at * width });
	}

	#tapKeys(pass: Pass, { job, scale, rows }: Part, index: number, width: number): void {
		const { heads } = this.#config;
		for (const [part, at] of [["k_cache", 0], ["v_cache", width]] as const) {
			const name = `s${scale}.blk${index}.${part}`;
			if (!job.taps.wants(name)) continue;
			// The ranges of the rows lie apart: the copy spans them all and the view picks its part.
			const ranges = rows.map((row) => job.keys[row][index]);
			const first = Math.min(...ranges.map(({ start }) => start));
			const { used } = ranges[0];
			const span = Math.max(...ranges.map(({ start }) => start)) - first + used;
			const view = (data: Float32Array) => cacheByHead(data, ranges.map(({ start }) => start - first), used, heads, width, at);
			job.taps.keep(pass, name, this.#store.tensor(index), [span, 2 * width], { from: first * 2 * width, view, shape: [rows.length, heads, used, width / heads] });
		}
	}

	#tapRope({ taps, plan, grids }: InfinityJob): void {
		const { heads, width, ropeReach } = this.#config;
		const half = width / heads / 2;
		taps.give("rope.cache", [2, grids.reduce((sum, grid) => sum + area(grid), 0), half], () => infinityRopeTable(grids, 2 * half, ropeReach[plan.schedule]));
	}

	/** u32 words of a token's codes. */
	get #words(): number {
		return Math.ceil(this.#config.bits / 32);
	}

	#latent = (job: InfinityJob) => image(job, job.grids.length - 1, job.slot * this.#latentCells);
}

const area = ([height, width]: readonly [number, number]) => height * width;
const image = (job: InfinityJob, scale: number, pixel: number) => ({ pixel, height: job.grids[scale][0], width: job.grids[scale][1] });
const firstToken = (job: InfinityJob, scale: number) => job.tokens.slice(0, scale).reduce((sum, tokens) => sum + tokens, 0);

/** The rotary tables of all schedules, one after the other: cos [positions, headDim / 2], then sin. */
function ropeTables(gpu: Gpu, config: InfinityConfig, schedules: Readonly<Record<string, Schedule>>, headDim: number) {
	const first = new Map<string, number>();
	const tables: Float32Array[] = [];
	let positions = 0;
	for (const [name, { grids }] of Object.entries(schedules)) {
		first.set(name, positions);
		tables.push(infinityRopeTable(grids, headDim, config.ropeReach[name]));
		positions += grids.reduce((sum, grid) => sum + area(grid), 0);
	}
	const joined = new Float32Array(positions * headDim);
	let at = 0;
	for (const half of [0, 1]) {
		for (const table of tables) {
			const part = table.subarray((half * table.length) / 2, ((half + 1) * table.length) / 2);
			joined.set(part, at);
			at += part.length;
		}
	}
	return { table: gpu.upload("rope", [joined.length], joined), positions, first };
}

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
