/**
 * `npm run bench -- [--model NAME] [--pictures N] [--peers [--rows REGEXP] [--runtimes REGEXP]]
 * [--together 1,2,4,8] [--precision] [--shape infinity-2b --blocks N --scales a..b] [--policies exact,stagevar]
 * [--profile [--host]] [--max-seconds S] [--json FILE] [--svg FILE]`: times of the model's policies (the default), of
 * peers on the same adapter, of several pictures in one batch, of int8 and int4 copies of the model, of a published
 * shape. `--profile`: where the time of a picture of the model, or of all blocks of the shape, goes, by operator and by
 * scale; with `--host` what the host alone takes, on a device that runs nothing. Tables on stdout; `--json` has the same
 * in full, `--svg` draws the times by scale.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { openModelAt } from "../../model-shards/format/folder.ts";
import { policies } from "../../worker/policies/index.ts";
import type { Shape } from "./shape.ts";
import { peersText, picturesText, precisionText, profileText, shapeText, togetherText } from "./tables.ts";
import { type Chart, timeByScale } from "./time-by-scale.ts";

const { values } = parseArgs({
	options: {
		model: { type: "string", default: "emoji-128" },
		pictures: { type: "string" },
		peers: { type: "boolean", default: false },
		rows: { type: "string", default: "" },
		runtimes: { type: "string", default: "" },
		together: { type: "string" },
		precision: { type: "boolean", default: false },
		policies: { type: "string", default: "exact,stagevar,stagevar-skip" },
		profile: { type: "boolean", default: false },
		host: { type: "boolean", default: false },
		shape: { type: "string" },
		blocks: { type: "string", default: "2" },
		scales: { type: "string" },
		"max-seconds": { type: "string", default: "100" },
		json: { type: "string" },
		svg: { type: "string" },
	},
});
const names = values.policies.split(",");
for (const name of names)
	if (!Object.hasOwn(policies, name))
		fail(`There is no policy ${name}. Policies: ${Object.keys(policies).join(", ")}.`);
if (values.host && !values.profile) fail("--host says whose profile: give --profile beside it.");
if (values.profile) await profileAndExit();
const maxSeconds = number("max-seconds", values["max-seconds"], 1);
const gpu = await openGpu();
const report: Record<string, unknown> = { adapter: gpu.facts };
const charts: Chart[] = [];
console.log(`${gpu.facts.name} (${gpu.facts.driver})\n`);

if (
	(values.pictures && !values.precision) ||
	(!values.peers && !values.shape && !values.together && !values.precision)
) {
	const { benchPictures } = await import("./pictures.ts");
	const pictures = await benchPictures(gpu, values.model, number("pictures", values.pictures ?? "3", 1), names);
	console.log(picturesText(pictures));
	report.pictures = pictures;
	const groups = pictures.policies.map(({ policy, scales }) => {
		const bars = scales.map(({ grid, stage, transformer_ms }) => ({
			label: grid,
			stage,
			milliseconds: transformer_ms,
		}));
		return { name: policy, total: bars.reduce((sum, bar) => sum + bar.milliseconds, 0), bars };
	});
	charts.push({ title: `${pictures.model}: transformer time by scale`, subtitle: gpu.facts.name, groups });
}
if (values.together) {
	const { benchTogether } = await import("./together.ts");
	const sizes = values.together.split(",").map((size) => number("together", size, 1));
	const together = await benchTogether(gpu, values.model, sizes, names);
	console.log(togetherText(together));
	report.together = together;
}
if (values.precision) {
	const { benchPrecision } = await import("./precision.ts");
	const rows = await benchPrecision(gpu, values.model, number("pictures", values.pictures ?? "5", 1));
	console.log(precisionText(rows));
	report.precision = rows;
}
if (values.shape) {
	const { benchShape } = await import("./shape.ts");
	const wanted = await shapeOf(values.shape);
	const scales = /^(\d+)\.\.(\d+)$/.exec(values.scales ?? (gpu.facts.software ? "0..3" : "0..12"));
	if (!scales) fail(`--scales ${values.scales}: give the first and the last scale, as in 0..4.`);
	const shape = await benchShape(gpu, {
		shape: wanted,
		policies: names,
		blocks: number("blocks", values.blocks, 1),
		scales: [Number(scales[1]), Number(scales[2])],
		maxSeconds,
	});
	console.log(shapeText(shape));
	report.shape = shape;
	const groups = shape.policies.map(({ policy, scales, total_ms }) => ({
		name: policy,
		total: total_ms ?? 0,
		bars: scales.flatMap(({ grid, stage, extrapolated_ms, measured_ms }) =>
			extrapolated_ms === null
				? []
				: [{ label: grid.split("x")[0], stage, milliseconds: extrapolated_ms, estimated: measured_ms === null }],
		),
	}));
	charts.push({
		title: `${shape.shape}, 1024x1024: time by scale, extrapolated`,
		subtitle: `${shape.blocks} of ${shape.depth} blocks run with random weights; hollow: not run. ${gpu.facts.name}`,
		groups,
	});
}
if (values.peers) {
	const { comparePeers } = await import("./peers/peers.ts");
	const rows = [];
	const begun = performance.now();
	const progress = (text: string) =>
		process.stderr.write(`${((performance.now() - begun) / 1000).toFixed(0).padStart(4)} s  ${text}\n`);
	for await (const row of comparePeers(gpu, {
		model: values.model,
		rows: new RegExp(values.rows),
		runtimes: new RegExp(values.runtimes),
		maxSeconds,
		progress,
	})) {
		rows.push(row);
	}
	console.log(peersText(rows));
	report.peers = rows;
}
if (values.json) writeFileSync(values.json, JSON.stringify(report, null, "\t"));
if (values.svg) {
	if (charts.length === 0) fail("--svg draws times by scale: give --pictures N or --shape beside it.");
	for (const [i, chart] of charts.entries())
		writeFileSync(i === 0 ? values.svg : values.svg.replace(/(\.svg)?$/, `-${i + 1}.svg`), timeByScale(chart));
}
process.exit(0);

/** Nothing else is measured beside it: on a device that runs nothing there is nothing to compare. */
async function profileAndExit(): Promise<never> {
	const { profile, profileHost } = await import("./profile.ts");
	const folder = values.shape
		? await shapeOf(values.shape).then(({ depth, folder }) => folder(depth))
		: await openModelAt(values.model);
	const options = { policies: names, pictures: number("pictures", values.pictures ?? "5", 1) };
	const report = values.host ? await profileHost(folder, options) : await profile(await openGpu(), folder, options);
	console.log(`${report.adapter.name} (${report.adapter.driver})\n\n${profileText(report)}`);
	if (values.json) writeFileSync(values.json, JSON.stringify({ profile: report }, null, "\t"));
	process.exit(0);
}

async function shapeOf(name: string): Promise<Shape> {
	const { SHAPES } = await import("./shape.ts");
	return (
		SHAPES.find((shape) => shape.name === name) ??
		fail(`There is no shape ${name}. Shapes: ${SHAPES.map(({ name }) => name).join(", ")}.`)
	);
}

function number(name: string, text: string, least: number): number {
	const value = Number(text);
	if (!(value >= least)) fail(`--${name} ${text}: give a number of at least ${least}.`);
	return value;
}
function fail(message: string): never {
	console.error(message);
	process.exit(2);
}
