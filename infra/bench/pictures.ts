/** Each policy scale by scale, interleaved, with achieved GFLOPS, time to first preview, memory and cold start. */
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { matmul } from "../../kernels/matmul/matmul.ts";
import { openModel } from "../../worker/engine/open.ts";
import { decoderFlops, transformerFlops } from "../../worker/engine/paper/flops.ts";
import type { ModelFolder } from "../../worker/families/folder.ts";
import { policies } from "../../worker/policies/index.ts";
import type { Stage, StagePlan } from "../../worker/protocol/plan.ts";
import { median } from "../median.ts";
import { drawnBy, type Watch } from "./measure.ts";

export interface PictureScale {
	scale: number;
	grid: string;
	stage: Stage;
	transformer_ms: number;
	transformer_gflops: number;
	preview_ms: number;
	preview_gflops: number;
}
export interface PolicyReport {
	policy: string;
	total_ms: number;
	first_preview_ms: number;
	scales: PictureScale[];
}
export interface PicturesReport {
	model: string;
	pictures: number;
	/**
	 * Milliseconds since the process began: weights on the device; first preview and first picture done, whose kernels
	 * are compiled beside them.
	 */
	loaded_ms: number;
	cold_preview_ms: number;
	warm_ms: number;
	/** Bytes on the device between pictures. */
	device_bytes: number;
	resident_bytes: number;
	matmul_gflops: number;
	/** Achieved by a whole picture of the first policy, previews included. */
	picture_gflops: number;
	policies: PolicyReport[];
}

interface Sample {
	/** As it was settled. */
	plan: StagePlan;
	transformer: number[];
	preview: number[];
	first: number;
	total: number;
}

const TEXT_TOKENS = 7;

/** `pictures` of every policy named. Figures are medians. */
export async function benchPictures(
	gpu: Gpu,
	folder: ModelFolder,
	pictures: number,
	names: readonly string[],
	{ signal, progress }: Watch = {},
): Promise<PicturesReport> {
	const model = await openModel(gpu, folder);
	const loaded = performance.now();
	const drawn = drawnBy(model.info);
	const schedule = folder.manifest.schedules[folder.info.defaultSchedule];
	const plans = names.map((name) => policies[name].plan(model.info, {}));
	const compiled = model.compile([plans[0]], drawn);
	compiled.catch(() => {});
	let coldPreview = 0;
	for await (const _ of model.generate({ plan: plans[0], ...drawn, seed: 0, previews: "all", signal }))
		coldPreview ||= performance.now();
	const warm = performance.now();
	await compiled;
	await model.compile(plans);

	const samples = new Map<string, Sample[]>(plans.map((plan) => [plan.policy, []]));
	let done = 0;
	progress?.(done, pictures * plans.length);
	for (let seed = 0; seed < pictures; seed++) {
		for (const plan of plans) {
			const sample: Sample = { plan, transformer: [], preview: [], first: 0, total: 0 };
			const begun = performance.now();
			for await (const result of model.generate({ plan, ...drawn, seed, previews: "all", signal })) {
				if (result.kind === "scale") {
					sample.first ||= performance.now() - begun;
					sample.transformer[result.index] = result.milliseconds.transformer;
					sample.preview[result.index] = result.milliseconds.preview;
				} else if (result.kind === "revision") {
					sample.plan = result.plan;
				} else {
					sample.total = result.milliseconds.total;
				}
			}
			samples.get(plan.policy)?.push(sample);
			progress?.(++done, pictures * plans.length);
		}
	}

	const reports = plans.map((plan): PolicyReport => {
		const taken = samples.get(plan.policy) as Sample[];
		const flops = taken.map(({ plan }) => transformerFlops(folder, schedule, plan, TEXT_TOKENS));
		const scales = plan.steps.flatMap((step, scale): PictureScale[] => {
			// What a picture decided to leave out has no time.
			const ran = taken.flatMap(({ transformer, preview }, i) =>
				transformer[scale] === undefined
					? []
					: [{ transformer: transformer[scale], preview: preview[scale], flops: flops[i][scale], plan: taken[i].plan }],
			);
			if (step.kind === "skip" || ran.length === 0) return [];
			const [height, width] = schedule.grids[scale];
			const own = decoderFlops(folder, height, width);
			// Where the last grids are left out, the finished picture is decoded beside the last preview.
			const finished = decoderFlops(folder, ...(schedule.grids[schedule.grids.length - 1] as [number, number]));
			const decoded = ({ steps }: StagePlan) =>
				scale < steps.length - 1 && scale === steps.findLastIndex(({ kind }) => kind === "run") ? own + finished : own;
			return [
				{
					scale,
					grid: `${height}x${width}`,
					stage: step.stage,
					transformer_ms: median(ran.map(({ transformer }) => transformer)),
					transformer_gflops: median(ran.map(({ flops, transformer }) => flops / transformer)) / 1e6,
					preview_ms: median(ran.map(({ preview }) => preview)),
					preview_gflops: median(ran.map(({ preview, plan }) => decoded(plan) / preview)) / 1e6,
				},
			];
		});
		return {
			policy: plan.policy,
			total_ms: median(taken.map((s) => s.total)),
			first_preview_ms: median(taken.map((s) => s.first)),
			scales,
		};
	});
	const [first] = reports;
	const work = first.scales.reduce(
		(sum, scale) => sum + scale.transformer_ms * scale.transformer_gflops + scale.preview_ms * scale.preview_gflops,
		0,
	);
	const device = gpu.bytes;
	const matmulGflops = await matmulRate(gpu);
	model.destroy();
	return {
		model: folder.info.id,
		pictures,
		loaded_ms: loaded,
		cold_preview_ms: coldPreview,
		warm_ms: warm,
		device_bytes: device,
		resident_bytes: process.memoryUsage.rss(),
		matmul_gflops: matmulGflops,
		picture_gflops: work / first.total_ms,
		policies: reports,
	};
}

/** The engine's own matmul at a shape large enough to show the adapter's rate. */
async function matmulRate(gpu: Gpu): Promise<number> {
	const [m, k, n] = [512, 768, 768];
	const x = gpu.tensor("bench x", [m, k]);
	const weight = gpu.tensor("bench w", [k, n]);
	const y = gpu.tensor("bench y", [m, n]);
	const times: number[] = [];
	for (let i = 0; i < 4; i++) {
		const begun = performance.now();
		const pass = gpu.pass("bench");
		matmul(pass, { x, weight, y, m, k, n, label: "bench" });
		pass.submit();
		await gpu.read([{ ...y, bytes: 16 }]);
		times.push(performance.now() - begun);
	}
	gpu.free(x, weight, y);
	return (2 * m * k * n) / median(times.slice(1)) / 1e6;
}
