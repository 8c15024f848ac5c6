import type { ImageShape } from "../../../kernels/conv.ts";
import { copy, gatherRows } from "../../../kernels/gather.ts";
import type { Gpu, Tensor } from "../../../kernels/gpu.ts";
import { resize } from "../../../kernels/interpolate.ts";
import { matmul } from "../../../kernels/matmul.ts";
import type { Pass } from "../../../kernels/pass.ts";
import { pixelShuffle, pixelUnshuffle } from "../../../kernels/pixel-shuffle.ts";
import { clearOthers, type ReduceRow, scatterRows, spreadKept } from "../../../kernels/reduce.ts";
import { rowTable } from "../../../kernels/rows.ts";
import { temper } from "../../../kernels/temper.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import { settle } from "../../protocol/plan.ts";
import { packCodes, unpackCodes } from "../codes.ts";
import { cacheByHead, channelsFirst, type Taps } from "../tap.ts";
import type { RgbImage } from "../types.ts";
import type { Dtype, Weights } from "../weights.ts";
import { blockRows, cellsIn, cellTokens, layOut, type Part, rowsIn } from "./batch.ts";
import type { Family, JobOptions, Round, Step } from "./family.ts";
import type { BlockContext, Graph } from "./graph.ts";
import { detailByToken, detailOf, shareHolding } from "./detail.ts";
import { highFrequencyShare } from "./frequency.ts";
import { closeJob, type Job, openJob, releaseKeys, settleJob, stores } from "./job.ts";
import { KeyValueStore } from "./key-value-store.ts";
import { COND, condOf, ROWS, rowsOf, UNCOND } from "./kv-plan.ts";
import { Pictures } from "./pictures.ts";
import { crossBoundary, endSpans, reduceRows, skipsOthers } from "./spans.ts";
import { freeSnapshot, restoreSnapshot, type Snapshot, takeSnapshot } from "./snapshot.ts";
import { type Need, Workspace } from "./workspace.ts";

/** Next-scale prediction (arXiv 2404.02905) by any family's graph, several jobs in one batch. */
export class NextScaleModel implements Family<Job> {
	readonly slots: number;
	readonly maxTokens: number;
	#gpu: Gpu;
	#graph: Graph;
	#schedules: Readonly<Record<string, Schedule>>;
	#weights: Weights;
	#store: KeyValueStore;
	/** [slots * latentCells, channels]: each job's sum of codes so far, at the size of its last grid in cells. */
	#latents: Tensor;
	#latentCells: number;
	#pictures: Pictures;
	#work: Workspace | undefined;
	#jobs: (Job | undefined)[];

	constructor(gpu: Gpu, graph: Graph, schedules: Readonly<Record<string, Schedule>>, weights: Weights, slots: number, cacheDtype: Dtype) {
		const { depth, width, ffn } = graph.shape;
		const { channels, logits, patch } = graph.codes;
		this.slots = slots;
		this.maxTokens = Math.floor(gpu.bindingBytes / 4 / Math.max(ffn, 3 * width, logits));
		this.#gpu = gpu;
		this.#graph = graph;
		this.#schedules = schedules;
		this.#weights = weights;
		this.#store = new KeyValueStore(gpu, depth, width, cacheDtype);
		this.#latentCells = latentCells(schedules) * patch ** 2;
		this.#latents = gpu.tensor("latents", [slots * this.#latentCells, channels]);
		this.#pictures = new Pictures(gpu, weights, graph, this.#latentCells);
		this.#jobs = Array.from({ length: slots });
	}

	tokensOf({ job, scale }: Step<Job>): number {
		const step = job.plan.steps[scale];
		return step.kind === "run" ? rowsOf(step).length * job.tokens[scale] : 0;
	}

	open(options: JobOptions): Job {
		const slot = this.#jobs.findIndex((job) => job === undefined);
		if (slot === -1) throw new RangeError(`All ${this.slots} slots of the model are taken.`);
		const job = openJob(this.#gpu, this.#graph, this.#store, this.#schedules[options.plan.schedule], slot, options);
		try {
			this.#fit([...this.#jobs, job].filter((other) => other !== undefined));
		} catch (error) {
			closeJob(this.#gpu, job, this.#store);
			throw error;
		}
		this.#jobs[slot] = job;
		this.#graph.opened(job);
		return job;
	}

	async look(job: Job, scale: number, picture?: RgbImage): Promise<void> {
		const decoded = picture ?? (await this.#pictures.decode(this.#latents, [{ from: this.#latent(job), grid: this.#cellGrid(job, scale), taps: job.taps, latentName: null, finished: false }]))[0];
		job.details.set(scale, detailOf(decoded));
	}

	async settle(job: Job): Promise<number> {
		const { decide } = job.plan;
		if (!decide) throw new Error("The plan leaves nothing to settle.");
		const detail = job.details.get(decide.after);
		const measured = decide.measure === "picture" && detail ? shareHolding(detailByToken(detail, job.grids[job.grids.length - 1]), decide.hold) : await this.#highFrequency(job, decide.after);
		settleJob(job, this.#store, settle(job.plan, measured));
		return measured;
	}

	async #highFrequency(job: Job, scale: number): Promise<number> {
		const { channels } = this.#graph.codes;
		const { pixel, height, width } = this.#latent(job);
		const latent = this.#gpu.tensor("latent to measure", [height * width, channels]);
		const pass = this.#gpu.pass("measure");
		copy(pass, { x: this.#latents, from: pixel * channels, y: latent, count: height * width * channels, label: "latent to measure" });
		const [data] = await pass.submit([latent]).finally(() => this.#gpu.free(latent));
		return highFrequencyShare(new Float32Array(data), [height, width], job.grids[scale], channels);
	}

	close(job: Job): void {
		closeJob(this.#gpu, job, this.#store);
		this.#jobs[job.slot] = undefined;
	}

	snapshot(job: Job, scales: number): Snapshot {
		const pass = this.#gpu.pass("snapshot");
		const snapshot = takeSnapshot(this.#gpu, pass, job, scales, this.#store, this.#latentOf(job));
		pass.submit();
		return snapshot;
	}

	restore(job: Job, snapshot: Snapshot): void {
		const pass = this.#gpu.pass("restore snapshot");
		restoreSnapshot(pass, job, snapshot, this.#store, this.#latentOf(job));
		pass.submit();
	}

	forget(snapshot: Snapshot): void {
		freeSnapshot(this.#gpu, snapshot);
	}

	round(steps: readonly Step<Job>[]): Round {
		const parts = layOut(steps);
		const work = this.#work as Workspace;
		const pass = this.#gpu.pass(`round of ${parts.map(({ scale }) => scale).join(", ")}`);
		for (const { job } of parts.filter(({ job }) => !job.begun)) {
			this.#graph.begin(pass, job, this.#store);
			job.begun = true;
		}
		this.#embed(pass, work, parts);
		this.#blocks(pass, work, parts);
		this.#sample(pass, work, parts.filter(({ step }) => step.sample), 2 * cellsIn(parts));
		this.#advance(pass, work, parts);
		const words = pass.submit([{ ...work.codes, bytes: 2 * cellsIn(parts) * this.#words * 4 }]);
		for (const { job, scale } of parts) releaseKeys(job, this.#store, scale);
		const pictures = this.#decode(parts);
		const inOrder = steps.map((step) => parts.find((part) => part.step === step) as Part);
		return {
			codes: words.then(([data]) => inOrder.map((part) => this.#codesOf(part, new Uint32Array(data)))),
			pictures: pictures.then((made) => inOrder.map((part) => made.get(part) ?? [])),
		};
	}

	async decode(latent: Float32Array<ArrayBuffer>, [height, width]: readonly [number, number], taps: Taps): Promise<RgbImage> {
		const { channels } = this.#graph.codes;
		if (latent.length !== height * width * channels) throw new RangeError(`A latent of ${height}x${width} has ${height * width * channels} floats, not ${latent.length}.`);
		if (height * width > this.#latentCells) throw new RangeError(`A latent of ${height}x${width} is larger than the model's largest, which has ${this.#latentCells} cells.`);
		const tensor = this.#gpu.upload("latent", [height * width, channels], latent);
		try {
			const [picture] = await this.#pictures.decode(tensor, [{ from: { pixel: 0, height, width }, grid: [height, width], taps, latentName: null, finished: true }]);
			return picture;
		} finally {
			this.#gpu.free(tensor);
		}
	}

	destroy(): void {
		this.#graph.destroy();
		this.#graph.codes.destroy();
		this.#store.destroy();
		this.#pictures.destroy();
		this.#work?.destroy();
		this.#gpu.free(this.#latents);
	}

	/** Makes the workspace large enough for any round of these jobs. */
	#fit(jobs: readonly Job[]): void {
		const sum = (of: (need: Need) => number) => jobs.reduce((total, { most }) => total + of(most), 0);
		const need: Need = {
			// A round takes one step at least, and no more than maxTokens beyond that.
			rows: Math.min(sum(({ rows }) => rows), Math.max(this.maxTokens, ...jobs.map(({ most }) => most.rows))),
			cells: sum(({ cells }) => cells),
			matrix: Math.max(...jobs.map(({ most }) => most.matrix)),
			spans: jobs.some(({ most }) => most.spans),
			gathers: jobs.some(({ most }) => most.gathers),
		};
		if (this.#work?.fits(need)) return;
		const old = this.#work?.need ?? need;
		this.#work?.destroy();
		this.#work = undefined;
		this.#work = new Workspace(this.#gpu, this.#graph.shape, this.#graph.codes, {
			rows: Math.max(need.rows, old.rows), cells: Math.max(need.cells, old.cells), matrix: Math.max(need.matrix, old.matrix), spans: need.spans || old.spans, gathers: need.gathers || old.gathers,
		});
	}

	/** x = embedded latent (the same for every guidance row) or the start tokens, plus the embedding of level or position. */
	#embed(pass: Pass, work: Workspace, parts: readonly Part[]): void {
		const { shape: { width }, codes: { patch, channels, features, shrink }, names, start, embedding } = this.#graph;
		const later = parts.filter(({ scale }) => scale > 0);
		if (later.length > 0) {
			resize(pass, {
				x: this.#latents, y: patch === 1 ? work.input : work.values, how: shrink, channels, label: "scale input",
				from: later.map((part) => this.#latent(part.job)), to: later.map((part) => inCells(image(part.job, part.scale, part.cell), patch)),
			});
			if (patch > 1) pixelUnshuffle(pass, { x: work.values, y: work.input, ...this.#shuffle(later), label: "patchify" });
			matmul(pass, { x: work.input, y: work.embedded, ...this.#weights.linear("transformer.word_embed"), m: cellsIn(parts), k: features, n: width, label: "word_embed" });
		}
		for (const { job, scale, cell, tokens } of parts) {
			if (scale === 0) copy(pass, { x: start, from: condOf(job.slot, 0) * tokens * width, y: work.embedded, to: cell * width, count: ROWS * tokens * width, label: "start" });
			else {
				const map = names.map(scale);
				job.taps.keep(pass, map.name, work.input, [1, tokens, features], { from: cell * features, view: map.channelsFirst ? channelsFirst(features) : undefined });
			}
		}
		const index = parts.flatMap(({ scale, cell, tokens, rows }) => rows.flatMap((row) => Array.from({ length: tokens }, (_, i) => cell + (scale === 0 ? row * tokens : 0) + i)));
		const extra = { table: embedding.table, index: pass.table(parts.flatMap((part) => part.rows.flatMap(() => embedding.index(part)))) };
		gatherRows(pass, { x: work.embedded, index: pass.table(index), y: work.x[0], count: index.length, width, extra, label: "embedding" });
	}

	#blocks(pass: Pass, work: Workspace, parts: readonly Part[]): void {
		const { shape: { depth }, names, sublayers } = this.#graph;
		for (let index = 0; index < depth; index++) {
			let context: BlockContext | undefined;
			for (const [i, { run }] of sublayers.entries()) {
				if (crossBoundary(pass, this.#graph, work, parts, index * sublayers.length + i)) context = undefined;
				if (index + i === 0) for (const part of parts) this.#keep(pass, work, part, `s${part.scale}.${names.input}`);
				context ??= this.#context(pass, work, parts, index);
				run(pass, context);
				// Self attention has stored them.
				if (i === 0) for (const part of parts) for (const row of part.rows) if (stores(part.job, row, part.scale)) part.job.keys[row][index].used += part.length;
				if (endSpans(pass, this.#graph, work, parts, index * sublayers.length + i + 1, "sublayer")) context = undefined;
			}
			for (const part of parts) {
				this.#keep(pass, work, part, `s${part.scale}.blk${index}.out`);
				this.#tapKeys(pass, part, index);
			}
		}
		crossBoundary(pass, this.#graph, work, parts, depth * sublayers.length);
		for (const part of parts) this.#keep(pass, work, part, `s${part.scale}.head_in`);
	}

	/** A block's view of the batch as it is laid out now. */
	#context(pass: Pass, work: Workspace, parts: readonly Part[], index: number): BlockContext {
		return {
			index, x: work.x[0], work: work.block, kv: this.#store.tensor(index),
			kept: parts.some(({ span }) => span?.reduction.rope === "kept") ? work.positions : undefined,
			...blockRows(pass, parts, index, (part) => this.#graph.ropeAt(part)),
			parts: parts.map(({ job, scale, at, rows, length }) => ({ taps: job.taps, name: `s${scale}`, at, rows: rows.length, length })),
		};
	}

	/** `spare`: first of the places for codes of kept tokens alone. */
	#sample(pass: Pass, work: Workspace, all: readonly Part[], spare: number): void {
		if (all.length === 0) return;
		const { x, parts } = this.#cells(pass, work, all);
		const outOf = ({ span, cell, sampledAt }: Part) => (skipsOthers(span) ? spare + cell : sampledAt);
		const { codes, names } = this.#graph;
		this.#graph.head(pass, { x, work, rows: rowTable(pass, rowsIn(parts)) });
		const rows = parts.map((part) => {
			const { job, run: { guidance, tau, topK, topP }, scale, length, rows, at } = part;
			return {
				cond: at + Math.max(0, rows.indexOf(COND)) * length, uncond: at + Math.max(0, rows.indexOf(UNCOND)) * length, tokens: length, out: outOf(part),
				guidance, topK, topP, seed: job.seed, scale, branch: 0, ...(typeof tau === "number" ? { tau } : { tau: tau.between[0], temper: tau }),
			};
		});
		const taus = rows.some((row) => "temper" in row) ? work.taus : undefined;
		if (taus) temper(pass, { logits: work.logits, taus, choices: codes.choices, values: codes.logits / codes.choices, rows, label: "temperatures" });
		codes.sample(pass, { logits: work.logits, mixed: work.mixed, codes: work.codes, taus, rows });
		for (const part of parts) {
			const { job, scale, length, rows, at } = part;
			job.taps.keep(pass, `s${scale}.${names.logits}`, work.logits, [rows.length, length, codes.logits], { from: at * codes.logits });
			job.taps.keep(pass, `s${scale}.${names.mixed}`, work.mixed, [1, length, codes.logits], { from: outOf(part) * codes.logits });
		}
		const short = this.#kept(parts, ({ sampledAt }) => sampledAt, outOf);
		if (short.length > 0) spreadKept(pass, { x: work.codes, positions: work.positions, words: this.#words, rows: short, label: "spread codes" });
	}

	/** The tokens that stand for cells, and the parts laid out over them alone: all tokens but where a text comes before the first cell. */
	#cells(pass: Pass, work: Workspace, parts: readonly Part[]): { x: Tensor; parts: readonly Part[] } {
		if (parts.every(({ length, codes }) => length <= codes)) return { x: work.x[0], parts };
		const index = parts.flatMap((part) => cellTokens(part).flatMap(({ token, tokens }) => Array.from({ length: tokens }, (_, i) => token + i)));
		const x = work.block.attended;
		gatherRows(pass, { x: work.x[0], index: pass.table(index), y: x, count: index.length, width: this.#graph.shape.width, label: "tokens of cells" });
		let at = 0;
		return { x, parts: parts.map((part) => {
			const length = Math.min(part.length, part.codes);
			return { ...part, at: (at += part.rows.length * length) - part.rows.length * length, length };
		}) };
	}

	/** Adds the codes of the scale, sampled or given, to the latents. */
	#advance(pass: Pass, work: Workspace, parts: readonly Part[]): void {
		const { codes, names } = this.#graph;
		for (const { step: { forced }, cell, codes: count } of parts) {
			// Written before the pass runs; sampled codes of such a step go elsewhere.
			if (forced) this.#gpu.device.queue.writeBuffer(work.codes.buffer, cell * this.#words * 4, unpackCodes(forced, count, codes.bits));
		}
		const made = codes.patch === 1 ? work.values : work.input;
		codes.values(pass, { codes: work.codes, values: made, tokens: cellsIn(parts) });
		const short = this.#kept(parts, ({ cell }) => cell, () => 0);
		if (short.length > 0) clearOthers(pass, { x: made, positions: work.positions, words: codes.features, rows: short, label: "leave others" });
		if (codes.patch > 1) pixelShuffle(pass, { x: made, y: work.values, ...this.#shuffle(parts), label: "unpatchify" });
		const latentParts = parts.map(({ job, scale, cell }) => ({ scale, scales: job.grids.length, from: inCells(image(job, scale, cell), codes.patch), to: this.#latent(job) }));
		codes.add(pass, { values: work.values, latents: this.#latents, parts: latentParts });
		for (const { job, scale } of parts) {
			const { pixel, height, width } = this.#latent(job);
			job.taps.keep(pass, `s${scale}.${names.latent}`, this.#latents, [codes.channels, height, width], { from: pixel * codes.channels, view: channelsFirst(codes.channels) });
		}
		this.#refine(pass, work, parts.filter(({ job, scale }) => scale === job.grids.length - 1));
	}

	/** Adds what is no code, where the family has such a thing, once the last scale's codes are in the latent. */
	#refine(pass: Pass, work: Workspace, parts: readonly Part[]): void {
		const { residual, codes: { channels } } = this.#graph;
		if (!residual) return;
		for (const part of parts) {
			const { job, cell, run, rows, tokens, length, at, pick, span } = part;
			const short = span && skipsOthers(span) ? span : undefined;
			// Tokens are refined one by one: what stands for those left out is of no matter, and of no effect.
			if (short) scatterRows(pass, { x: work.x[0], positions: work.positions, y: work.x[1], width: this.#graph.shape.width, rows: reduceRows(this.#graph, part, short, 0, at, (i) => pick + i * length), label: "full length" });
			const refined = residual.call(this.#graph, pass, { x: short ? work.x[1] : work.x[0], at: short ? 0 : at, work, job, run, cell, rows: rows.length, tokens });
			const kept = this.#kept([part], () => 0, () => 0);
			if (kept.length > 0) clearOthers(pass, { x: refined, positions: work.positions, words: channels, rows: kept, label: "leave others" });
			resize(pass, { x: refined, y: this.#latents, how: "nearest", channels, add: true, from: [{ ...this.#latent(job), pixel: 0 }], to: [this.#latent(job)], label: "add residual" });
		}
	}

	/** Where the parts that leave tokens out keep which. Both guidance rows keep the same: their inputs to the first block are. */
	#kept(parts: readonly Part[], token: (part: Part) => number, out: (part: Part) => number): ReduceRow[] {
		return parts.flatMap((part) => (part.span && skipsOthers(part.span) ? reduceRows(this.#graph, part, part.span, token(part), out(part), () => part.pick).slice(0, 1) : []));
	}

	/** The pictures that the steps ask for. */
	async #decode(parts: readonly Part[]): Promise<Map<Part, RgbImage[]>> {
		const wanted = parts.flatMap((part) => part.step.pictures.map((scale) => ({ part, scale })));
		const made = new Map<Part, RgbImage[]>();
		const pictures = await this.#pictures.decode(
			this.#latents,
			wanted.map(({ part: { job }, scale }) => {
				const last = scale === job.grids.length - 1;
				return { from: this.#latent(job), grid: this.#cellGrid(job, scale), taps: job.taps, latentName: last ? this.#graph.names.final : null, finished: last };
			}),
		);
		wanted.forEach(({ part }, i) => made.set(part, [...(made.get(part) ?? []), pictures[i]]));
		return made;
	}

	#codesOf({ step, sampledAt, codes }: Part, words: Uint32Array): Uint8Array<ArrayBuffer> | null {
		if (!step.sample) return null;
		return packCodes(words.subarray(sampledAt * this.#words, (sampledAt + codes) * this.#words), codes, this.#graph.codes.bits);
	}

	/** A part's residual stream. */
	#keep(pass: Pass, work: Workspace, { job, at, rows, length }: Part, name: string): void {
		const { width } = this.#graph.shape;
		job.taps.keep(pass, name, work.x[0], [rows.length, length, width], { from: at * width });
	}

	#tapKeys(pass: Pass, { job, scale, rows }: Part, index: number): void {
		const { heads, width } = this.#graph.shape;
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

	/** u32 words of a token's codes. */
	get #words(): number {
		return Math.ceil(this.#graph.codes.bits / 32);
	}

	#latentOf = (job: Job) => ({ latents: this.#latents, at: this.#latent(job), channels: this.#graph.codes.channels });

	#latent = (job: Job) => ({ ...inCells(image(job, job.grids.length - 1, 0), this.#graph.codes.patch), pixel: job.slot * this.#latentCells });

	/** Of a scale, in cells of the latent. */
	#cellGrid({ grids }: Job, scale: number): [height: number, width: number] {
		const { patch } = this.#graph.codes;
		return [grids[scale][0] * patch, grids[scale][1] * patch];
	}

	/** The maps of the parts' scales, as tokens of patches. */
	#shuffle(parts: readonly Part[]) {
		const { patch: side, channels: stride, features } = this.#graph.codes;
		return { images: parts.map(({ job, scale, cell }) => image(job, scale, cell)), side, channels: features / side ** 2, stride };
	}
}

/** Tokens of the largest map. */
export const latentCells = (schedules: Readonly<Record<string, Schedule>>): number => Math.max(...Object.values(schedules).map(({ grids }) => area(grids[grids.length - 1])));

const area = ([height, width]: readonly [number, number]) => height * width;
const image = (job: Job, scale: number, pixel: number) => ({ pixel, height: job.grids[scale][0], width: job.grids[scale][1] });
/** A map of tokens in cells of the latent. */
const inCells = ({ pixel, height, width }: ImageShape, patch: number): ImageShape => ({ pixel: pixel * patch ** 2, height: height * patch, width: width * patch });
