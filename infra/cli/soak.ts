import { openGpu } from "../../kernels/gpu/native/open.ts";
import { openModel } from "../../worker/engine/open.ts";
import { policies } from "../../worker/policies/index.ts";
import { soak } from "../soak/soak.ts";
import { openFolder } from "./open-folder.ts";
import { count, DEFAULT_MODEL, jsonOption, modelName } from "./options.ts";
import type { Define } from "./program.ts";

/** Exit code 1 when device memory did not stay the same. */
export const define: Define = (command, terminal) =>
	command
		.argument("[model]", "a bundled model's name, a model folder or its URL", modelName, DEFAULT_MODEL)
		.argument("[pictures]", "how many, at least 20", count("pictures", 20, 1_000_000), 200)
		.addOption(jsonOption())
		.action(async (name, pictures) => {
			const folder = await openFolder(name, terminal);
			const gpu = await openGpu();
			const model = await openModel(gpu, folder);
			await model.compile(Object.values(policies).map((policy) => policy.plan(model.info, {})));
			using bar = terminal.progress("{bar} {value}/{total} pictures, {eta_formatted} left");
			bar.start(pictures);
			const report = await soak(gpu, model, pictures, (done) => bar.update(done));
			bar[Symbol.dispose]();
			const { gpuBytes, residentSlope } = report;
			terminal.print(
				[
					`${pictures} pictures of ${name} on ${gpu.facts.name}`,
					`GPU bytes after the tenth ${gpuBytes.tenth}, at the end ${gpuBytes.end}`,
					`Resident memory grew by ${Math.round(residentSlope)} bytes a picture over the second half`,
				].join("\n"),
			);
			terminal.result({ model: folder.info.id, adapter: gpu.facts.name, ...report });
			if (gpuBytes.tenth !== gpuBytes.end) process.exitCode = 1;
		});
