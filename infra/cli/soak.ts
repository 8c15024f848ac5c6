import { DEFAULT_MODEL } from "../../model-shards/open.ts";
import { openModel } from "../../worker/engine/open.ts";
import { policies } from "../../worker/policies/index.ts";
import { soak } from "../soak/soak.ts";
import { openAdapter } from "./open-adapter.ts";
import { openFolder } from "./open-folder.ts";
import { count, jsonOption, modelName, policiesOption } from "./options.ts";
import type { Define } from "./program.ts";
import { UsageError } from "./usage.ts";

/** Exit code 1 when device memory did not stay the same. */
export const define: Define = (command, terminal) =>
	command
		.argument("[model]", "a bundled model's name, a model folder or its URL", modelName, DEFAULT_MODEL)
		.argument("[pictures]", "how many, at least two by every policy", count("pictures", 2, 1_000_000), 200)
		.addOption(policiesOption().default(Object.values(policies), "all"))
		.addOption(jsonOption())
		.action(async (name, pictures, { policies: by }) => {
			if (pictures < 2 * by.length)
				throw new UsageError(`${pictures} pictures are too few: at least two by every policy, ${2 * by.length}.`);
			const folder = await openFolder(name, terminal);
			const gpu = await openAdapter(terminal);
			const model = await openModel(gpu, folder);
			await model.compile(by.map((policy) => policy.plan(model.info, {})));
			using bar = terminal.progress("{bar} {value}/{total} pictures, {eta_formatted} left");
			bar.start(pictures);
			const report = await soak(gpu, model, pictures, { by, progress: (done) => bar.update(done) });
			bar[Symbol.dispose]();
			const { gpuBytes, residentSlope } = report;
			terminal.print(
				[
					`${pictures} pictures of ${name} on ${gpu.facts.name}`,
					`GPU bytes after one by every policy ${gpuBytes.warm}, at the end ${gpuBytes.end}`,
					`Resident memory grew by ${Math.round(residentSlope)} bytes a picture over the second half`,
				].join("\n"),
			);
			terminal.result({ model: folder.info.id, adapter: gpu.facts.name, ...report });
			if (gpuBytes.warm !== gpuBytes.end) process.exitCode = 1;
		});
