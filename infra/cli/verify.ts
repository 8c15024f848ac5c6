import { PRECISIONS } from "../../model-shards/format/precision.ts";
import { findModel } from "../../model-shards/open.ts";
import { DTYPES } from "../../worker/families/shared/weights.ts";
import type { Comparison } from "../verify/compare.ts";
import { verifySet } from "../verify/verify.ts";
import { openAdapter } from "./open-adapter.ts";
import { choice, jsonOption, limitsOption, otherModelOption } from "./options.ts";
import type { Define } from "./program.ts";

/** Exit code 1 when any tensor of any set misses its bound. */
export const define: Define = (command, terminal) =>
	command
		.argument("<folders...>", "folders of the reference format, such as test/reference/infinity-tiny")
		.addOption(otherModelOption("the weights (default: those recorded with each set)"))
		.addOption(choice("dtype", "of the weights on the device", DTYPES).default("f32" as const))
		.addOption(choice("cache", "of cached keys and values", PRECISIONS).default("f32" as const))
		.addOption(limitsOption())
		.addOption(jsonOption())
		.action(async (folders, { model, dtype, cache: cacheDtype, limits }) => {
			const modelFolder = model === undefined ? undefined : findModel(model);
			const gpu = await openAdapter(terminal, limits);
			const { name: adapter, driver } = gpu.facts;
			terminal.print(`Adapter: ${adapter} (${driver})`);
			const runs: Run[] = [];
			for (const folder of folders) {
				for await (const { name, comparisons } of verifySet(gpu, folder, modelFolder, { dtype, cacheDtype })) {
					terminal.signal.throwIfAborted();
					const run = { folder, name, misses: comparisons.filter(({ ok }) => !ok).length, comparisons };
					terminal.print(runText(run));
					runs.push(run);
				}
			}
			const misses = runs.reduce((sum, run) => sum + run.misses, 0);
			terminal.print(
				misses === 0 ? "\nAll tensors are within their bounds." : `\n${misses} tensors miss their bounds.`,
			);
			terminal.result({ adapter, driver, misses, runs });
			if (misses > 0) process.exitCode = 1;
		});

interface Run {
	folder: string;
	name: string;
	misses: number;
	comparisons: readonly Comparison[];
}

function runText({ folder, name, misses, comparisons }: Run): string {
	return [
		`\n${folder} · ${name}`,
		...comparisons.map(line),
		`  ${comparisons.length - misses} of ${comparisons.length} tensors within their bounds`,
	].join("\n");
}

function line({ name, ok, error, bound, mean, meanBound, missing }: Comparison): string {
	const means = meanBound === undefined ? "" : `; mean ${mean.toExponential(2)}, bound ${meanBound.toExponential(2)}`;
	const detail = missing ?? `max error ${error.toExponential(2)}, bound ${bound.toExponential(2)}${means}`;
	return `  ${ok ? "ok  " : "MISS"} ${name.padEnd(22)} ${detail}`;
}
