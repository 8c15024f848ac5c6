import { SingleBar } from "cli-progress";
import { Gpu } from "../../kernels/gpu.ts";
import { loadTuning } from "../../kernels/tune-cache.ts";
import { openModelAt } from "../../model-shards/folder.ts";
import { kernelShapes } from "../../worker/engine/shapes.ts";
import { parse, UsageError } from "./usage.ts";

/** Measures kernel variants at a model's shapes on this adapter, a CPU included, and keeps the choices for whatever starts next. */
export async function tuneCommand(args: string[]): Promise<number> {
	const { values } = parse({ args, options: { model: { type: "string", default: "emoji-128" }, dtype: { type: "string", default: "f32" }, again: { type: "boolean", default: false } } });
	if (values.dtype !== "f32" && values.dtype !== "f16") throw new UsageError(`--dtype is f32 or f16, not ${values.dtype}.`);
	const { manifest, info } = await openModelAt(values.model);
	const gpu = await Gpu.open();
	console.log(`${values.model} on ${gpu.facts.name}`);
	const bar = new SingleBar({ format: "{bar} {value}/{total} shapes, {eta_formatted} left", stream: process.stderr, hideCursor: true });
	const measured = await loadTuning(gpu, kernelShapes(manifest.config, manifest.schedules[info.defaultSchedule]), {
		dtype: values.dtype === "f16" ? "f16" : undefined,
		measure: values.again ? "all" : "missing",
		progress: (done, total) => (bar.isActive ? bar.update(done) : total && bar.start(total, done)),
	});
	bar.stop();
	const lines = Object.entries(measured).map(([shape, variant]) => `${shape}: ${variant}`);
	console.log(lines.length ? `${lines.join("\n")}\nKept for this adapter and driver.` : "Measured before. --again measures anew.");
	return 0;
}
