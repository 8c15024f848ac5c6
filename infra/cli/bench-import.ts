import { join } from "node:path";
import { Option } from "@commander-js/extra-typings";
import { PRECISIONS } from "../../model-shards/format/precision.ts";
import { families } from "../../worker/families/index.ts";
import { benchImport, importText, TEXT_ENCODERS, writeCheckpoint } from "../bench/import.ts";
import { Temporary } from "../temporary.ts";
import { choice, given, jsonOption } from "./options.ts";
import { emptyFolder } from "./output.ts";
import type { Define } from "./program.ts";
import { sizesText } from "./sizes.ts";
import { oneOf, UsageError } from "./usage.ts";

/** What importing a published size takes, tried on random numbers. */
export const define: Define = (command, terminal) =>
	command
		.addOption(choice("family", "of the model", Object.keys(families)).default("infinity"))
		.option("--size <size>", "of that family", given("size"), "2b")
		.addOption(choice("dtype", "how weights are stored", PRECISIONS).default("f16" as const))
		.addOption(choice("text", "a text encoder that comes with it", TEXT_ENCODERS))
		.option("--dry", "write neither checkpoint nor model")
		.option("--out <folder>", "keep the model there", given("out"))
		.addOption(new Option("--make <folder>", "write the checkpoint there, and no more").hideHelp())
		.addOption(jsonOption())
		.addHelpText("after", () => `\nPublished sizes:\n${sizesText()}`)
		.action(async ({ family, size, dtype, text, dry = false, out, make }) => {
			oneOf("size", size, families[family].published.sizes);
			if (make !== undefined) return await writeCheckpoint(make, family, size);
			const itself = [process.execPath, join(import.meta.dirname, "cli.ts"), "bench-import"];
			if (dry && out !== undefined)
				throw new UsageError("--out: with --dry there is no model to keep.", "Leave one out.");
			// Half a model is none.
			using half = out === undefined ? undefined : new Temporary(await emptyFolder("--out", out));
			const wishes = { family, size, dtype, text, dry, out };
			if (!dry) terminal.say(`Writing ${family} ${size} into a temporary folder`);
			using bar = terminal.progress("{bar} {percentage} %, {eta_formatted} left");
			const report = await benchImport(
				wishes,
				(dir) => [...itself, "--family", family, "--size", size, "--make", dir],
				{
					signal: terminal.signal,
					progress: bar.report,
				},
			);
			half?.keep();
			bar[Symbol.dispose]();
			terminal.print(importText(report, wishes));
			terminal.result(report);
		});
