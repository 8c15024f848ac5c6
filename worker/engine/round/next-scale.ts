import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { resize } from "../../../kernels/image/interpolate.ts";
import { pixelShuffle, pixelUnshuffle } from "../../../kernels/image/pixel-shuffle.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { copy, gatherRows } from "../../../kernels/tokens/gather.ts";
import { clearOthers, scatterRows } from "../../../kernels/tokens/selected.ts";
import type { BlockContext, Graph, TapNames } from "../../families/family.ts";
import type { Dtype, Weights } from "../../families/shared/weights.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import { type Decision, settle } from "../../protocol/plan.ts";
import { codeWords, packCodes, unpackCodes } from "../codes.ts";
import { cacheByHead, channelsFirst, type Taps } from "../tap.ts";
import type { RgbImage } from "../types.ts";
import { blockRows, cellsIn, layOut, type Part } from "./batch.ts";
import { Pictures } from "./decode.ts";
import { detailByToken, detailOf, shareHolding } from "./detail.ts";
import { highFrequencyShare } from "./frequency.ts";
import { KeyValueStore } from "./key-value-store.ts";
import { condOf, ROWS, rowsOf } from "./kv-plan.ts";
import { Latents, tokenMap } from "./latents.ts";
import type { Family, JobOptions, Round, Step } from "./model.ts";
import { closeJob, type Job, openJob, releaseKeys, settleJob, stores } from "./picture.ts";
import { sampleCodes } from "./sampling.ts";
import { freeSnapshot, restoreSnapshot, type Snapshot, takeSnapshot } from "./snapshot.ts";
import { crossBoundary, endSpans, keptRows, reduceRows, skipsOthers } from "./spans.ts";
import { largerNeed, roundNeed, Workspace } from "./workspace.ts";

/** Next-scale prediction (arXiv 2404.02905) by any family's graph, several jobs in one batch. */
export class NextScaleModel implements Family<Job> {
	readonly slots: number;
	readonly maxTokens: number;
	#gpu: Gpu;
	#graph: Graph;
	#schedules: Readonly<Record<string, Schedule>>;
	#weights: Weights;
	#store: KeyValueStore;
	#latents: Latents;
	#pictures: Pictures;
	#work: Workspace | undefined;
	#jobs: (Job | undefined)[];

	constructor(
		gpu: Gpu,
		graph: Graph,
		schedules: Readonly<Record<string, Schedule>>,
		weights: Weights,
		slots: number,
		cacheDtype: Dtype,
	) {
		const { depth, width, ffn } = graph.shape;
		this.slots = slots;
		this.maxTokens = Math.floor(gpu.bindingBytes / 4 / Math.max(ffn, 3 * width, graph.codes.logits));
		this.#gpu = gpu;
		this.#graph = graph;
		this.#schedules = schedules;
		this.#weights = weights;
		this.#store = new KeyValueStore(gpu, depth, width, cacheDtype);
		this.#latents = new Latents(gpu, graph.codes, schedules, slots);
		this.#pictures = new Pictures(gpu, weights, graph, this.#latents.cells);
		this.#jobs = Array.from({ length: slots });
	}

	/** What its family calls its tensors. */
	get names(): TapNames {
		return this.#graph.names;
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
		const wanted = {
			from: this.#latents.of(job),
			grid: this.#latents.grid(job, scale),
			taps: job.taps,
			latentName: null,
			finished: false,
		};
		job.details.set(scale, detailOf(picture ?? (await this.#pictures.decode(this.#latents.tensor, [wanted]))[0]));
	}

	async settle(job: Job): Promise<number> {
		const { decide } = job.plan;
		if (!decide) throw new Error("The plan leaves nothing to settle.");
		const measured = await this.#measure(job, decide);
		settleJob(job, this.#store, settle(job.plan, measured));
		return measured;
	}

	async #measure(job: Job, decide: Decision): Promise<number> {
		if (decide.measure === "high-frequency") return await this.#highFrequency(job, decide.after);
		const detail = job.details.get(decide.after);
		if (!detail) throw new Error(`The picture after scale ${decide.after} was not looked at.`);
		return shareHolding(detailByToken(detail, job.grids[job.grids.length - 1]), decide.hold);
	}

	async #highFrequency(job: Job, scale: number): Promise<number> {
		const { channels } = this.#latents;
		const { pixel, height, width } = this.#latents.of(job);
		const latent = this.#gpu.tensor("latent to measure", [height * width, channels]);
		const pass = this.#gpu.pass("measure");
		copy(pass, {
			x: this.#latents.tensor,
			from: pixel * channels,
			y: latent,
			count: height * width * channels,
			label: "latent to measure",
		});
		const [data] = await pass.submit([latent]).finally(() => this.#gpu.free(latent));
		return highFrequencyShare(new Float32Array(data), [height, width], job.grids[scale], channels);
	}

	close(job: Job): void {
		closeJob(this.#gpu, job, this.#store);
		this.#jobs[job.slot] = undefined;
	}

	snapshot(job: Job, scales: number): Snapshot {
		const pass = this.#gpu.pass("snapshot");
		const snapshot = takeSnapshot(this.#gpu, pass, job, scales, this.#store, this.#latents);
		pass.submit();
		return snapshot;
	}

	restore(job: Job, snapshot: Snapshot): void {
		const pass = this.#gpu.pass("restore snapshot");
		restoreSnapshot(pass, job, snapshot, this.#store, this.#latents);
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
		sampleCodes(
			pass,
			this.#graph,
			work,
			parts.filter(({ step }) => step.sample),
			2 * cellsIn(parts),
		);
		this.#advance(pass, work, parts);
		const words = pass.submit([{ ...work.codes, bytes: 2 * cellsIn(parts) * codeWords(this.#graph.codes.bits) * 4 }]);
		for (const { job, scale } of parts) releaseKeys(job, this.#store, scale);
		const pictures = this.#decode(parts);
		const inOrder = steps.map((step) => parts.find((part) => part.step === step) as Part);
		return {
			codes: words.then(([data]) => inOrder.map((part) => this.#codesOf(part, new Uint32Array(data)))),
			pictures: pictures.then((made) => inOrder.map((part) => made.get(part) ?? [])),
		};
	}

	async decode(
		latent: Float32Array<ArrayBuffer>,
		[height, width]: readonly [number, number],
		taps: Taps,
	): Promise<RgbImage> {
		const { channels, cells } = this.#latents;
		if (latent.length !== height * width * channels)
			throw new RangeError(
				`A latent of ${height}x${width} has ${height * width * channels} floats, not ${latent.length}.`,
			);
		if (height * width > cells)
			throw new RangeError(
				`A latent of ${height}x${width} is larger than the model's largest, which has ${cells} cells.`,
			);
		const tensor = this.#gpu.upload("latent", [height * width, channels], latent);
		try {
			const [picture] = await this.#pictures.decode(tensor, [
				{ from: { pixel: 0, height, width }, grid: [height, width], taps, latentName: null, finished: true },
			]);
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
		this.#latents.destroy();
	}

	/** Makes the workspace large enough for any round of these jobs. */
	#fit(jobs: readonly Job[]): void {
		const need = roundNeed(
			jobs.map(({ most }) => most),
			this.maxTokens,
		);
		if (this.#work?.fits(need)) return;
		const larger = this.#work ? largerNeed(need, this.#work.need) : need;
		this.#work?.destroy();
		this.#work = undefined;
		this.#work = new Workspace(this.#gpu, this.#graph.shape, this.#graph.codes, larger);
	}

	/**
	 * x = embedded latent (the same for every guidance row) or the start tokens, plus the embedding of level or position.
	 */
	#embed(pass: Pass, work: Workspace, parts: readonly Part[]): void {
		const {
			shape: { width },
			codes: { patch, channels, features, shrink },
			names,
			start,
			embedding,
		} = this.#graph;
		const later = parts.filter(({ scale }) => scale > 0);
		if (later.length > 0) {
			resize(pass, {
				x: this.#latents.tensor,
				y: patch === 1 ? work.input : work.values,
				how: shrink,
				channels,
				label: "scale input",
				from: later.map(({ job }) => this.#latents.of(job)),
				to: later.map((part) => this.#latents.map(part)),
			});
			if (patch > 1)
				pixelUnshuffle(pass, { x: work.values, y: work.input, ...this.#shuffle(later), label: "patchify" });
			matmul(pass, {
				x: work.input,
				y: work.embedded,
				...this.#weights.linear("transformer.word_embed"),
				m: cellsIn(parts),
				k: features,
				n: width,
				label: "word_embed",
			});
		}
		for (const { job, scale, cell, tokens } of parts) {
			if (scale === 0)
				copy(pass, {
					x: start,
					from: condOf(job.slot, 0) * tokens * width,
					y: work.embedded,
					to: cell * width,
					count: ROWS * tokens * width,
					label: "start",
				});
			else {
				const map = names.map(scale);
				job.taps.keep(pass, map.name, work.input, [1, tokens, features], {
					from: cell * features,
					view: map.channelsFirst ? channelsFirst(features) : undefined,
				});
			}
		}
		const index = parts.flatMap(({ scale, cell, tokens, rows }) =>
			rows.flatMap((row) => Array.from({ length: tokens }, (_, i) => cell + (scale === 0 ? row * tokens : 0) + i)),
		);
		const extra = {
			table: embedding.table,
			index: pass.table(parts.flatMap((part) => part.rows.flatMap(() => embedding.index(part)))),
		};
		gatherRows(pass, {
			x: work.embedded,
			index: pass.table(index),
			y: work.x[0],
			count: index.length,
			width,
			extra,
			label: "embedding",
		});
	}

	#blocks(pass: Pass, work: Workspace, parts: readonly Part[]): void {
		const {
			shape: { depth },
			names,
			sublayers,
		} = this.#graph;
		for (let index = 0; index < depth; index++) {
			let context: BlockContext | undefined;
			for (const [i, { run }] of sublayers.entries()) {
				if (crossBoundary(pass, this.#graph, work, parts, index * sublayers.length + i)) context = undefined;
				if (index + i === 0) for (const part of parts) this.#keep(pass, work, part, `s${part.scale}.${names.input}`);
				context ??= this.#context(pass, work, parts, index);
				run(pass, context);
				// Self attention has stored them.
				if (i === 0)
					for (const part of parts)
						for (const row of part.rows)
							if (stores(part.job, row, part.scale)) part.job.keys[row][index].used += part.length;
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
			index,
			x: work.x[0],
			work: work.block,
			kv: this.#store.tensor(index),
			kept: parts.some(({ span }) => span?.reduction.rope === "kept") ? work.positions : undefined,
			...blockRows(pass, parts, index, (part) => this.#graph.ropeAt(part)),
			parts: parts.map(({ job, scale, at, rows, length, run }) => ({
				taps: job.taps,
				name: `s${scale}`,
				at,
				rows: rows.length,
				length,
				textGuidance: run.textGuidance ?? 1,
			})),
		};
	}

	/** Adds the codes of the scale, sampled or given, to the latents. */
	#advance(pass: Pass, work: Workspace, parts: readonly Part[]): void {
		const { codes, names } = this.#graph;
		for (const {
			step: { forced },
			cell,
			codes: count,
		} of parts) {
			// Written before the pass runs; sampled codes of such a step go elsewhere.
			if (forced) this.#gpu.write(work.codes, cell * codeWords(codes.bits), unpackCodes(forced, count, codes.bits));
		}
		const made = codes.patch === 1 ? work.values : work.input;
		codes.values(pass, { codes: work.codes, values: made, tokens: cellsIn(parts) });
		const short = keptRows(
			this.#graph,
			parts,
			({ cell }) => cell,
			() => 0,
		);
		if (short.length > 0)
			clearOthers(pass, {
				x: made,
				positions: work.positions,
				words: codes.features,
				rows: short,
				label: "leave others",
			});
		if (codes.patch > 1) pixelShuffle(pass, { x: made, y: work.values, ...this.#shuffle(parts), label: "unpatchify" });
		const latentParts = parts.map((part) => ({
			scale: part.scale,
			scales: part.job.grids.length,
			from: this.#latents.map(part),
			to: this.#latents.of(part.job),
		}));
		codes.add(pass, { values: work.values, latents: this.#latents.tensor, parts: latentParts });
		for (const { job, scale } of parts) {
			const { pixel, height, width } = this.#latents.of(job);
			job.taps.keep(pass, `s${scale}.${names.latent}`, this.#latents.tensor, [codes.channels, height, width], {
				from: pixel * codes.channels,
				view: channelsFirst(codes.channels),
			});
		}
		this.#refine(
			pass,
			work,
			parts.filter(({ job, scale }) => scale === job.grids.length - 1),
		);
	}

	/** Adds what is no code, where the family has such a thing, once the last scale's codes are in the latent. */
	#refine(pass: Pass, work: Workspace, parts: readonly Part[]): void {
		const {
			residual,
			codes: { channels },
		} = this.#graph;
		if (!residual) return;
		for (const part of parts) {
			const { job, cell, run, rows, tokens, length, at, pick, span } = part;
			const short = span && skipsOthers(span) ? span : undefined;
			// Tokens are refined one by one: what stands for those left out is of no matter, and of no effect.
			if (short) {
				const back = reduceRows(this.#graph, part, short, 0, at, (i) => pick + i * length);
				scatterRows(pass, {
					x: work.x[0],
					positions: work.positions,
					y: work.x[1],
					width: this.#graph.shape.width,
					rows: back,
					label: "full length",
				});
			}
			const refined = residual.call(this.#graph, pass, {
				x: short ? work.x[1] : work.x[0],
				at: short ? 0 : at,
				work,
				job,
				run,
				cell,
				rows: rows.length,
				tokens,
			});
			const kept = keptRows(
				this.#graph,
				[part],
				() => 0,
				() => 0,
			);
			if (kept.length > 0)
				clearOthers(pass, {
					x: refined,
					positions: work.positions,
					words: channels,
					rows: kept,
					label: "leave others",
				});
			const latent = this.#latents.of(job);
			resize(pass, {
				x: refined,
				y: this.#latents.tensor,
				how: "nearest",
				channels,
				add: true,
				from: [{ ...latent, pixel: 0 }],
				to: [latent],
				label: "add residual",
			});
		}
	}

	/** The pictures that the steps ask for. */
	async #decode(parts: readonly Part[]): Promise<Map<Part, RgbImage[]>> {
		const wanted = parts.flatMap((part) => part.step.pictures.map((scale) => ({ part, scale })));
		const made = new Map<Part, RgbImage[]>();
		const pictures = await this.#pictures.decode(
			this.#latents.tensor,
			wanted.map(({ part: { job }, scale }) => {
				const last = scale === job.grids.length - 1;
				return {
					from: this.#latents.of(job),
					grid: this.#latents.grid(job, scale),
					taps: job.taps,
					latentName: last ? this.#graph.names.final : null,
					finished: last,
				};
			}),
		);
		wanted.forEach(({ part }, i) => made.set(part, [...(made.get(part) ?? []), pictures[i]]));
		return made;
	}

	#codesOf({ step, sampledAt, codes }: Part, words: Uint32Array): Uint8Array<ArrayBuffer> | null {
		if (!step.sample) return null;
		const { bits } = this.#graph.codes;
		return packCodes(words.subarray(sampledAt * codeWords(bits), (sampledAt + codes) * codeWords(bits)), codes, bits);
	}

	/** A part's residual stream. */
	#keep(pass: Pass, work: Workspace, { job, at, rows, length }: Part, name: string): void {
		const { width } = this.#graph.shape;
		job.taps.keep(pass, name, work.x[0], [rows.length, length, width], { from: at * width });
	}

	#tapKeys(pass: Pass, { job, scale, rows }: Part, index: number): void {
		const { heads, width } = this.#graph.shape;
		for (const [part, at] of [
			["k_cache", 0],
			["v_cache", width],
		] as const) {
			const name = `s${scale}.blk${index}.${part}`;
			if (!job.taps.wants(name)) continue;
			// The ranges of the rows lie apart: the copy spans them all and the view picks its part.
			const ranges = rows.map((row) => job.keys[row][index]);
			const first = Math.min(...ranges.map(({ start }) => start));
			const { used } = ranges[0];
			const span = Math.max(...ranges.map(({ start }) => start)) - first + used;
			const view = (data: Float32Array) =>
				cacheByHead(
					data,
					ranges.map(({ start }) => start - first),
					used,
					heads,
					width,
					at,
				);
			job.taps.keep(pass, name, this.#store.tensor(index), [span, 2 * width], {
				from: first * 2 * width,
				view,
				shape: [rows.length, heads, used, width / heads],
			});
		}
	}

	/** The maps of the parts' scales, as tokens of patches. */
	#shuffle(parts: readonly Part[]) {
		const { patch: side, channels: stride, features } = this.#graph.codes;
		return { images: parts.map(tokenMap), side, channels: features / side ** 2, stride };
	}
}
