import { basename, resolve } from "node:path";
import { findModel, isUrl } from "../../model-shards/open.ts";
import { Temporary } from "../temporary.ts";
import { given, jsonOption, modelName } from "./options.ts";
import { emptyFolder } from "./output.ts";
import type { Define } from "./program.ts";
import { UsageError } from "./usage.ts";

/** A GPU worker as a folder that needs nothing else, for machines that reach no registry. */
export const define: Define = (command, terminal) =>
	command
		.argument("[models...]", "bundled models' names or model folders (default: none; MODELS names them then)")
		.requiredOption("--out <folder>", "an empty folder, or a new one", given("out"))
		.addOption(jsonOption())
		.action(async (models, { out }) => {
			const folders = models.map((model) => {
				if (isUrl(model)) throw new UsageError(`${model} is a URL.`, "Give a bundled model's name or a folder.");
				return findModel(modelName(model));
			});
			const names = folders.map((path) => basename(resolve(path)));
			const twice = names.find((name, i) => names.indexOf(name) < i);
			if (twice !== undefined)
				throw new UsageError(`Two models are named ${twice}.`, "Give folders of different names; each keeps its own.");
			const folder = await emptyFolder("--out", out);
			const { bundle, bundledNode } = await import("../deploy/bundle.ts");
			// Half a bundle is none.
			using half = new Temporary(folder);
			const made = await bundle(folder, folders, bundledNode());
			half.keep();
			const { all, models: ofModels } = made.bytes;
			terminal.print(`${folder}: ${megabytes(all)}, ${megabytes(ofModels)} of it models`);
			terminal.result(made);
		});

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;
