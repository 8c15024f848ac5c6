/** What the benchmarks print. */
import type { CompiledOperator, CompileReport } from "./compile.ts";
import type { DecoderReport } from "./decoder.ts";
import type { GrowthReport } from "./growth.ts";
import { mib } from "./measure.ts";
import type { Row } from "./peers/compare.ts";
import type { PicturesReport } from "./pictures.ts";
import type { PrecisionRow } from "./precision.ts";
import type { HostTimes, Operator, ProfileReport } from "./profile.ts";
import type { ShapeReport } from "./shape.ts";
import { time } from "./time-by-scale.ts";
import type { TogetherRow } from "./together.ts";

export type Cell = string | number;

/** Columns aligned, numbers to the right. All rows have the keys of the first. */
export function table(rows: readonly Record<string, Cell>[]): string {
	if (rows.length === 0) return "";
	const keys = Object.keys(rows[0]);
	const cells = [keys, ...rows.map((row) => keys.map((key) => String(row[key] ?? "")))];
	const widths = keys.map((_, column) => Math.max(...cells.map((line) => line[column].length)));
	const right = keys.map((key) =>
		rows.every((row) => row[key] === "" || typeof row[key] === "number" || /^[\d.]/.test(String(row[key]))),
	);
	const lines = cells.map((line) =>
		line
			.map((cell, column) => (right[column] ? cell.padStart(widths[column]) : cell.padEnd(widths[column])))
			.join("  ")
			.trimEnd(),
	);
	return [lines[0], widths.map((width) => "-".repeat(width)).join("  "), ...lines.slice(1)].join("\n");
}

export const digits = (value: number) => Number(value.toPrecision(3));

export function decoderText(report: DecoderReport): string {
	const { cells, pixels, binding, weights, held, whole, tiles, seconds, gflops, mean } = report;
	const how = tiles ? `by tiles, in ${tiles.buffers} buffers of ${mib(tiles.bytes)}` : "whole";
	return [
		`Infinity's decoder, ${cells} x ${cells} cells to ${pixels} x ${pixels} pixels, ${how}`,
		`a binding holds ${mib(binding)}`,
		`memory: ${mib(held)} beside ${mib(weights)} of weights; whole images would take ${mib(whole)}`,
		`time: ${seconds.toFixed(1)} s, ${digits(gflops)} GFLOPS of what one pass needs`,
		`mean of the picture's bytes: ${mean.toFixed(3)}`,
	].join("\n");
}

export function picturesText(report: PicturesReport): string {
	const { loaded_ms, cold_preview_ms, warm_ms, device_bytes, resident_bytes, matmul_gflops } = report;
	const [first] = report.policies;
	const policies = report.policies.map(({ policy, total_ms, first_preview_ms, scales }) => {
		const share = ((100 * first_preview_ms) / total_ms).toFixed(1);
		const rows = scales.map((s) => ({
			scale: s.scale,
			grid: s.grid,
			stage: s.stage,
			transformer: time(s.transformer_ms),
			"GFLOPS ": digits(s.transformer_gflops),
			preview: time(s.preview_ms),
			GFLOPS: digits(s.preview_gflops),
		}));
		const first = `first preview after ${time(first_preview_ms)} (${share} %)`;
		return `\n${policy}: ${time(total_ms)} a picture with every preview, ${first}\n${table(rows)}\n`;
	});
	const loaded = `${Math.round(loaded_ms)} ms from process start to weights on the device`;
	const share = Math.round((100 * report.picture_gflops) / matmul_gflops);
	const whole = `the ${first.policy} picture with every preview`;
	const faster = report.policies.map(({ policy, total_ms }) => `${policy} ${(first.total_ms / total_ms).toFixed(2)}x`);
	return [
		`${report.model}: ${report.pictures} pictures a policy, medians`,
		`cold start: ${loaded}, ${Math.round(cold_preview_ms)} ms to the first preview, ` +
			`${Math.round(warm_ms)} ms to the first picture done`,
		`memory: ${mib(device_bytes)} on the device between pictures, ${mib(resident_bytes)} resident`,
		`matmul 512x768x768: ${matmul_gflops.toFixed(2)} GFLOPS; ` +
			`${whole}: ${report.picture_gflops.toFixed(2)} GFLOPS (${share} %)`,
		...policies,
		`${faster.join(", ")} against ${first.policy}, whole picture`,
	].join("\n");
}

export function togetherText(rows: readonly TogetherRow[]): string {
	return table(
		rows.map(({ policy, jobs, together, one_by_one, first_preview_ms, latency_ms, equal }) => ({
			policy,
			jobs,
			"together /s": digits(together),
			"one by one /s": digits(one_by_one),
			ratio: digits(together / one_by_one),
			"first preview": time(first_preview_ms),
			picture: time(latency_ms),
			"same bits": equal ? "yes" : "NO",
		})),
	);
}

export function precisionText(rows: readonly PrecisionRow[]): string {
	const percent = (share: number | null) => (share === null ? "" : `${(100 * share).toFixed(2)} %`);
	const decibels = (value: number | null) =>
		value === null ? "" : value === Infinity ? "same" : `${value.toFixed(1)} dB`;
	return table(
		rows.map(({ precision, stored, resident, picture_ms, logits, bits, psnr, least_psnr }) => ({
			precision,
			files: mib(stored),
			device: mib(resident),
			picture: time(picture_ms),
			"times as fast": digits(rows[0].picture_ms / picture_ms),
			logits: percent(logits),
			"same bits": percent(bits),
			"same seed": decibels(psnr),
			least: decibels(least_psnr),
		})),
	);
}

/** Times by runtime, and how many times longer the faster ONNX Runtime and TensorFlow.js take than Firstlight. */
export function peersText(rows: readonly Row[]): string {
	const runtimes = [...new Set(rows.flatMap(({ entries }) => entries.map(({ runtime }) => runtime)))];
	const body = rows.flatMap(({ name, entries }) => {
		if (entries.length === 0) return [];
		const of = (runtime: string) => entries.find((entry) => entry.runtime === runtime);
		const times = Object.fromEntries(
			runtimes.map((runtime) => [runtime, of(runtime) ? time((of(runtime) as Row["entries"][0]).milliseconds) : ""]),
		);
		const error = Math.max(...entries.map((entry) => entry.error));
		return [
			{
				workload: name,
				GFLOPS: digits(entries[0].gflops),
				...times,
				"faster ONNX": ratio(entries, /^onnxruntime/),
				TensorFlow: ratio(entries, /^TensorFlow/),
				"max error": error.toExponential(0),
			},
		];
	});
	const notes = grouped(rows.flatMap(({ name, notes }) => notes.map((note): [string, string] => [note, name])));
	const ways = grouped(
		rows.flatMap(({ name, entries }) =>
			entries.filter(({ how }) => how).map((entry): [string, string] => [`${entry.runtime} by ${entry.how}`, name]),
		),
	);
	return [
		table(body),
		"\nGFLOPS are Firstlight's; the last columns say how many times longer a peer takes on WebGPU, " +
			"and the largest error of one that was timed.",
		notes && `\nLeft out:\n${notes}`,
		ways && `\nWays that counted:\n${ways}`,
	]
		.filter(Boolean)
		.join("\n");
}

/** What is said of rows, each thing once. */
function grouped(said: readonly [what: string, row: string][]): string {
	const rows = Map.groupBy(said, ([what]) => what);
	return [...rows].map(([what, of]) => `- ${what} (${of.map(([, row]) => row).join("; ")})`).join("\n");
}

/** The fastest WebGPU peer of a name, in multiples of Firstlight's time; "" where there is none. */
export function ratio(entries: Row["entries"], name: RegExp): string {
	const peers = entries.filter((entry) => !entry.cpu && name.test(entry.runtime));
	if (peers.length === 0) return "";
	return `${(Math.min(...peers.map((entry) => entry.milliseconds)) / entries[0].milliseconds).toFixed(1)}x`;
}

export function shapeText({ shape, blocks, depth, policies }: ShapeReport): string {
	const parts = policies.map(({ policy, scales, total_ms, rounds }) => {
		const rows = scales.map((s) => ({
			scale: s.scale,
			grid: s.grid,
			stage: s.stage,
			rows: s.rows,
			[`${blocks} blocks`]: s.measured_ms === null ? "" : time(s.measured_ms),
			GFLOPS: s.gflops === null ? "" : digits(s.gflops),
			[`${depth} blocks, extrapolated`]: s.extrapolated_ms === null ? "" : time(s.extrapolated_ms),
			basis: s.measured_ms === null ? "operations at the rate shown" : "measured blocks",
		}));
		const total =
			total_ms === null
				? "no scale of 4x4 or more was timed, so there is no total"
				: `${time(total_ms)} for all scales, EXTRAPOLATED from ${blocks} of ${depth} blocks`;
		return `\n${policy}: ${total} (rounds: ${rounds})\n${table(rows)}`;
	});
	return [`${shape}: ${blocks} blocks with random weights at 1024x1024`, ...parts].join("\n");
}

export function compileText({ model, policies, operators }: CompileReport): string {
	const sum = (of: (operator: CompiledOperator) => number) => operators.reduce((total, each) => total + of(each), 0);
	const row = (name: string, kernels: number, characters: number, cpu: number, longest: number | null) => ({
		operator: name,
		kernels,
		"KB of WGSL": digits(characters / 1000),
		CPU: time(cpu),
		longest: longest === null ? "" : time(longest),
	});
	return [
		`${model} by ${policies.join(", ")}: kernels compiled one after the other`,
		table([
			...operators.map((each) => row(each.operator, each.kernels, each.characters, each.cpu_ms, each.longest_ms)),
			row(
				"all",
				sum(({ kernels }) => kernels),
				sum(({ characters }) => characters),
				sum(({ cpu_ms }) => cpu_ms),
				null,
			),
		]),
	].join("\n");
}

const CLOCKS = {
	timestamps: "device times, medians, by the adapter's own clock, a compute pass a dispatch",
	submissions:
		"device times, medians, by the wall clock, a submission for each run of one operator: the adapter has no clock",
	none: "the device was not timed",
};
const MOST_OPERATORS = 24;

export function profileText({ model, clock, pictures, policies }: ProfileReport): string {
	const parts = policies.map(({ policy, submissions, dispatches, picture, scales, operators }) => {
		const { wall_ms, cpu_ms, wait_ms, rest_ms } = picture;
		const deviceTotal = operators.reduce((sum, { device_ms }) => sum + (device_ms ?? 0), 0);
		const rows = scales.map((scale) => ({
			submission: scale.submission,
			dispatches: scale.dispatches,
			...hostCells(scale),
			...deviceCell(scale),
		}));
		const host = hostCells(picture);
		const total = Object.entries(host).map(([name, milliseconds]) => `${name} ${milliseconds}`);
		return [
			`\n${policy}: ${dispatches} dispatches in ${submissions} submissions; ` +
				`${time(wall_ms)} a picture, ${time(cpu_ms)} of CPU`,
			`host: ${total.join(", ")}, waiting ${time(wait_ms)}, all else ${time(rest_ms)}`,
			table(rows),
			"",
			operatorsTable(operators, deviceTotal),
		].join("\n");
	});
	return [`${model}: ${pictures} pictures a policy; host times are the least; ${CLOCKS[clock]}`, ...parts].join("\n");
}

const hostCells = ({ record_ms, encode_ms, submit_ms, copy_ms }: HostTimes) => ({
	record: time(record_ms),
	encode: time(encode_ms),
	submit: time(submit_ms),
	copy: time(copy_ms),
});

const deviceCell = ({ device_ms }: { device_ms: number | null }): Record<string, Cell> =>
	device_ms === null ? {} : { device: time(device_ms) };

/** `a unit more`: what the step from the size before costs, by its own unit. */
export function growthText({ dimensions: { width, depth }, growths }: GrowthReport): string {
	const parts = growths.map(({ of, points }) => {
		const rows = points.map(({ size, milliseconds, bytes }, i) => {
			const before = points[i - 1];
			const more = before && (milliseconds - before.milliseconds) / (size - before.size);
			const bytesMore = before && (bytes - before.bytes) / (size - before.size);
			return {
				[of]: size,
				time: time(milliseconds),
				"a unit more": before ? time(Math.max(0, more)) : "",
				memory: mib(bytes),
				"a unit more ": before ? `${(bytesMore / 1024).toFixed(1)} KiB` : "",
			};
		});
		return table(rows);
	});
	return [`${depth} blocks of width ${width}: the transformer of a picture`, ...parts].join("\n\n");
}

/** Those that take most; the others together. */
function operatorsTable(operators: readonly Operator[], total: number): string {
	const most = operators.length > MOST_OPERATORS ? operators.slice(0, MOST_OPERATORS - 1) : operators;
	const others = operators.slice(most.length);
	const rest: Operator[] = others.length
		? [
				{
					operator: `${others.length} others`,
					dispatches: others.reduce((sum, { dispatches }) => sum + dispatches, 0),
					device_ms:
						most[0].device_ms === null ? null : others.reduce((sum, { device_ms }) => sum + (device_ms ?? 0), 0),
				},
			]
		: [];
	return table(
		[...most, ...rest].map((row) => ({
			operator: row.operator,
			dispatches: row.dispatches,
			...deviceCell(row),
			...(row.device_ms === null ? {} : { share: `${((100 * row.device_ms) / (total || 1)).toFixed(1)} %` }),
		})),
	);
}
