/** What the host does to load a model: how fast, beside reading its files alone, and in how much memory. */
import { residentBytes } from "../../model-shards/format/layout.ts";
import { openModel } from "../../worker/engine/open.ts";
import type { ModelFolder } from "../../worker/families/folder.ts";
import type { Dtype } from "../../worker/families/shared/weights.ts";
import type { Watch } from "./measure.ts";
import { openNullGpu } from "./null-backend.ts";

export interface LoadingReport {
	model: string;
	dtype: Dtype;
	/** Bytes of weights that are read, and that they take on the device. */
	bytes: number;
	device_bytes: number;
	/** Reading them alone, from wherever they come, checked as ever, for the second time: the system may keep files. */
	reading_seconds: number;
	/** Until the model could make a picture on a device that takes data as fast as it comes. */
	loading_seconds: number;
	/** Bytes of the process's resident memory: before, and the most by then. */
	resident_before: number;
	resident_peak: number;
}

/**
 * Loads the model onto a device that runs nothing and keeps nothing (Dawn's null backend), so that the process's memory
 * is the host's part alone.
 */
export async function benchLoading(
	folder: ModelFolder,
	dtype: Dtype,
	{ signal, progress }: Watch = {},
): Promise<LoadingReport> {
	const { tensors } = folder.manifest;
	const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
	const onDevice = residentBytes(tensors, folder.wanted, dtype === "f16");
	const before = process.memoryUsage.rss();
	const seen = (done: number) => {
		signal?.throwIfAborted();
		progress?.(done, 3 * bytes);
	};
	let reading = 0;
	for (const times of [0, 1]) {
		const begun = performance.now();
		let done = times * bytes;
		for await (const tensor of folder.tensors()) seen((done += tensor.bytes.byteLength));
		reading = performance.now() - begun;
	}
	const gpu = await openNullGpu();
	try {
		const begun = performance.now();
		const model = await openModel(gpu, folder, { dtype, progress: (done) => seen(2 * bytes + done) });
		const loading = performance.now() - begun;
		model.destroy();
		return {
			model: folder.info.id,
			dtype,
			bytes,
			device_bytes: onDevice.reduce((sum, { bytes }) => sum + bytes, 0),
			reading_seconds: reading / 1000,
			loading_seconds: loading / 1000,
			resident_before: before,
			resident_peak: 1024 * process.resourceUsage().maxRSS,
		};
	} finally {
		gpu.destroy();
	}
}

export function loadingText(report: LoadingReport): string {
	const { model, dtype, bytes, device_bytes, reading_seconds, loading_seconds } = report;
	const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
	const rate = (seconds: number) => `${seconds.toFixed(2)} s, ${(bytes / 1e6 / seconds).toFixed(0)} MB/s`;
	return [
		`${model} as ${dtype}: ${mebibytes(bytes)} of weights, ${mebibytes(device_bytes)} on the device`,
		`reading alone: ${rate(reading_seconds)}; loading: ${rate(loading_seconds)}`,
		`peak resident memory ${mebibytes(report.resident_peak)} (${mebibytes(report.resident_before)} before)`,
	].join("\n");
}
