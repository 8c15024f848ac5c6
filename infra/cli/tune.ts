import { loadTuning } from "../../kernels/choices.ts";
import { cacheFolder } from "../../kernels/gpu/native/cache-settings.ts";
import { kernelShapes } from "../../worker/engine/shapes.ts";
import { DTYPES } from "../../worker/families/shared/weights.ts";
import { openFastestAdapter } from "./open-adapter.ts";
import { openFolder } from "./open-folder.ts";
import { choice, jsonOption, modelOption } from "./options.ts";
import { outputFolder } from "./output.ts";
import type { Define } from "./program.ts";

/**
 * Measures kernel variants at a model's shapes on the adapter that workers use, a CPU included, and keeps the choices
 * for whatever starts next.
 */
export const define: Define = (command, terminal) =>
	command
		.addOption(modelOption())
		.addOption(choice("dtype", "of the weights on the device", DTYPES).default("f32" as const))
		.option("--again", "measure what was measured before, too")
		.addOption(jsonOption())
		.action(async ({ model, dtype, again }) => {
			const cache = await outputFolder("The cache", cacheFolder());
			const folder = await openFolder(model, terminal);
			const gpu = await openFastestAdapter(terminal);
			terminal.print(`${model} on ${gpu.facts.name}`);
			using bar = terminal.progress("{bar} {value}/{total} shapes, {eta_formatted} left");
			const measured = await loadTuning(gpu, kernelShapes(folder, dtype), {
				measure: again ? "all" : "missing",
				progress: bar.report,
			});
			bar[Symbol.dispose]();
			const lines = Object.entries(measured).map(([shape, variant]) => `${shape}: ${variant}`);
			terminal.print(
				lines.length > 0
					? `${lines.join("\n")}\nKept for this adapter and driver.`
					: "Measured before. --again measures anew.",
			);
			terminal.result({ model: folder.info.id, adapter: gpu.facts.name, dtype, cache, measured });
		});
