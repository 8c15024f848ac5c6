import { SingleBar } from "cli-progress";
import { Gpu } from "../../kernels/gpu/gpu.ts";
import { loadTuning } from "../../kernels/gpu/native/tune-cache.ts";
import { kernelShapes } from "../../worker/engine/shapes.ts";
import { DTYPES } from "../../worker/families/shared/weights.ts";
import { openFolder } from "./open-folder.ts";
import { oneOf, parse } from "./usage.ts";

/**
 * Measures kernel variants at a model's shapes on this adapter, a CPU included, and keeps the choices for whatever
 * starts next.
 */
export async function tuneCommand(args: string[]): Promise<number> {
	const { values } = parse({
		args,
		options: {
			model: { type: "string", default: "emoji-128" },
			dtype: { type: "string", default: "f32" },
			again: { type: "boolean", default: false },
		},
	});
	const dtype = oneOf("dtype", values.dtype, DTYPES);
	const { manifest } = await openFolder(values.model);
	const gpu = await Gpu.open();
	console.log(`${values.model} on ${gpu.facts.name}`);
	const bar = new SingleBar({
		format: "{bar} {value}/{total} shapes, {eta_formatted} left",
		stream: process.stderr,
		hideCursor: true,
	});
	const measured = await loadTuning(gpu, kernelShapes(manifest, dtype), {
		measure: values.again ? "all" : "missing",
		progress: (done, total) => (bar.isActive ? bar.update(done) : total && bar.start(total, done)),
	});
	bar.stop();
	const lines = Object.entries(measured).map(([shape, variant]) => `${shape}: ${variant}`);
	console.log(
		lines.length ? `${lines.join("\n")}\nKept for this adapter and driver.` : "Measured before. --again measures anew.",
	);
	return 0;
}
