/**
 * `npm run bench -- [--model NAME] [--pictures N] [--json FILE]`: each policy scale by scale, interleaved in one process, with
 * achieved GFLOPS, time to first preview, memory and cold start. Figures are medians.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { SingleBar } from "cli-progress";
import { Gpu } from "../../kernels/gpu.ts";
import { matmul } from "../../kernels/matmul.ts";
import { findModel, openModelFolder } from "../../model-shards/folder.ts";
import { decoderFlops, transformerFlops } from "../../worker/engine/flops.ts";
import { openModel } from "../../worker/engine/open-model.ts";
import { policies } from "../../worker/engine/plan/policies.ts";

const { values } = parseArgs({ options: { model: { type: "string", default: "emoji-128" }, pictures: { type: "string", default: "3" }, json: { type: "string" } } });
const PROMPT = "a photo of a red apple";
const TEXT_TOKENS = 7;

const gpu = await Gpu.open();
const folder = await openModelFolder(findModel(values.model));
const model = await openModel(gpu, folder);
const loaded = performance.now();
if (folder.manifest.family !== "infinity") throw new Error(`The operations of family ${folder.manifest.family} are not counted; give an Infinity model.`);
const { config } = folder.manifest;
const schedule = folder.manifest.schedules[folder.info.defaultSchedule];
const plans = Object.values(policies).map((policy) => policy.plan(model.info, {}));
for await (const _ of model.generate({ plan: plans[0], prompt: PROMPT, seed: 0, previews: "all" }));
const warm = performance.now();

interface Sample {
	transformer: number[];
	preview: number[];
	first: number;
	decode: number;
	total: number;
}
const samples = new Map<string, Sample[]>(plans.map((plan) => [plan.policy, []]));
const rounds = Math.max(1, Number(values.pictures));
const bar = new SingleBar({ format: "{bar} {value}/{total} pictures", stream: process.stderr });
bar.start(rounds * plans.length, 0);
for (let round = 0; round < rounds; round++) {
	for (const plan of plans) {
		const sample: Sample = { transformer: [], preview: [], first: 0, decode: 0, total: 0 };
		const begun = performance.now();
		for await (const result of model.generate({ plan, prompt: PROMPT, seed: round, previews: "all" })) {
			if (result.kind === "scale") {
				sample.first ||= performance.now() - begun;
				sample.transformer[result.index] = result.milliseconds.transformer;
				sample.preview[result.index] = result.milliseconds.preview;
			} else {
				sample.decode = result.milliseconds.decode;
				sample.total = result.milliseconds.total;
			}
		}
		samples.get(plan.policy)?.push(sample);
		bar.increment();
	}
}
bar.stop();

const peak = await matmulGflops();
console.log(`${values.model} on ${gpu.facts.name} (${gpu.facts.driver}), ${rounds} pictures a policy, medians`);
console.log(`cold start: ${Math.round(loaded)} ms from process start to weights on the device, ${Math.round(warm)} ms to the first picture done`);
console.log(`memory: ${mib(gpu.bytes)} on the device between pictures, ${mib(process.memoryUsage.rss())} resident`);
console.log(`matmul 512x768x768: ${peak.toFixed(2)} GFLOPS`);
const report = plans.map((plan) => {
	const taken = samples.get(plan.policy) as Sample[];
	const flops = transformerFlops(config, schedule, plan, TEXT_TOKENS);
	const rows = plan.steps.flatMap((step, scale) => {
		if (step.kind === "skip") return [];
		const [height, width] = schedule.grids[scale];
		const transformer = median(taken.map((s) => s.transformer[scale]));
		const preview = median(taken.map((s) => s.preview[scale]));
		return [{ scale, grid: `${height}x${width}`, stage: step.stage, transformer_ms: round(transformer), transformer_gflops: round(flops[scale] / transformer / 1e6, 2), preview_ms: round(preview), preview_gflops: round(decoderFlops(config, height, width) / preview / 1e6, 2) }];
	});
	const first = median(taken.map((s) => s.first));
	const total = median(taken.map((s) => s.total));
	console.log(`\n${plan.policy}: ${Math.round(total)} ms a picture with every preview, first preview after ${Math.round(first)} ms (${((100 * first) / total).toFixed(1)} %)`);
	console.table(rows);
	return { policy: plan.policy, total_ms: round(total), first_preview_ms: round(first), scales: rows };
});
const exact = report[0].total_ms;
console.log(report.map(({ policy, total_ms }) => `${policy} ${(exact / total_ms).toFixed(2)}x`).join(", "), "against exact, whole picture");
if (values.json) writeFileSync(values.json, JSON.stringify({ model: values.model, adapter: gpu.facts, matmul_gflops: peak, report }, null, "\t"));
process.exit(0);

/** The engine's own matmul at a shape large enough to show the adapter's rate. */
async function matmulGflops(): Promise<number> {
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

function median(sorted: number[]): number {
	const values = [...sorted].sort((a, b) => a - b);
	return values[Math.floor(values.length / 2)];
}
function round(value: number, digits = 0): number {
	return Number(value.toFixed(digits));
}
function mib(bytes: number): string {
	return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
