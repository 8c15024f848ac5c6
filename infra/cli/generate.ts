import { extname, join } from "node:path";
import { openModel, reckoned, requireDrawn } from "../../worker/engine/open.ts";
import { DTYPES } from "../../worker/families/shared/weights.ts";
import { encodeImage } from "../../worker/gpu/encode.ts";
import { policies } from "../../worker/policies/index.ts";
import type { ImageFormat } from "../../worker/protocol/job.ts";
import { fitsPrompt, MAX_CLASSES, MAX_PROMPT_CHARS, MAX_SEED } from "../../worker/protocol/limits.ts";
import { openReadyAdapter } from "./open-adapter.ts";
import { openFolder } from "./open-folder.ts";
import {
	bytes,
	choice,
	count,
	fileNamed,
	given,
	jsonOption,
	modelOption,
	policyOption,
	scheduleOption,
} from "./options.ts";
import { OutputFile, outputFolder, writeWhole } from "./output.ts";
import { policiesText, readPlan } from "./plan.ts";
import type { Define } from "./program.ts";
import { UsageError } from "./usage.ts";

const FORMATS: Record<string, ImageFormat["type"]> = {
	".png": "png",
	".webp": "webp",
	".jpg": "jpeg",
	".jpeg": "jpeg",
};

/** One picture without the edge. Ctrl-C stops between scales. */
export const define: Define = (command, terminal) =>
	command
		.argument("[prompt]", "what to draw, in quotes", promptText)
		.option(
			"--class <number>",
			"in place of the prompt, for a model that draws classes",
			count("class", 0, MAX_CLASSES - 1),
		)
		.addOption(modelOption())
		.addOption(policyOption())
		.option("--plan <file>", "a plan of your own in place of a policy, as `firstlight plan` prints one", given("plan"))
		.addOption(scheduleOption())
		.option("--seed <number>", "the same seed gives the same picture (default: any)", count("seed", 0, MAX_SEED))
		.option("--out <file>", "the picture", fileNamed("out", ...Object.keys(FORMATS)), "firstlight.png")
		.option("--quality <number>", "of .webp and .jpg, 1 to 100", count("quality", 1, 100), 90)
		.option(
			"--memory <bytes>",
			"on the device, for the model and its picture, such as 6GiB (default: as much as is worth it)",
			(text) => bytes("memory", text),
		)
		.addOption(
			choice("dtype", "of weights that are stored as floats, and of keys and values", DTYPES).default("f32" as const),
		)
		.option("--scales-dir <folder>", "keep the picture of every scale there", given("scales-dir"))
		.addOption(jsonOption())
		.addHelpText("after", `\nPolicies:\n${policiesText()}`)
		.action(async (prompt, options) => {
			const { class: label, policy, schedule, quality } = options;
			if ((prompt === undefined) === (label === undefined))
				throw new UsageError("generate takes one prompt, in quotes, or --class NUMBER.");
			if (options.plan !== undefined && options.policy !== undefined)
				throw new UsageError("--plan stands in place of a policy; give one of them.");
			const subject = label === undefined ? { prompt } : { label };
			const type = FORMATS[extname(options.out).toLowerCase()];
			const format: ImageFormat = { type, quality };
			const seed = options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0];
			const out = await OutputFile.at("--out", options.out);
			const scalesDir = options.scalesDir && (await outputFolder("--scales-dir", options.scalesDir));

			const folder = await openFolder(options.model, terminal);
			requireDrawn(folder, [subject]);
			let plan =
				options.plan === undefined
					? (policy ?? policies.exact).plan(folder.info, { schedule })
					: await readPlan(options.plan, folder.info, schedule);
			const { gpu, model } = await openReadyAdapter(terminal, async (gpu) => {
				const { memory, dtype } = options;
				const how = { memory, dtype, cacheDtype: dtype };
				const { kept } = reckoned(gpu, folder, how);
				if (kept) terminal.say(kept);
				const model = await openModel(gpu, folder, how);
				// Scales run beside the compiling of what later ones need, but where a slow driver may have to give way.
				if (!gpu.facts.late) gpu.compiling = undefined;
				const compiled = model.compile([plan], subject);
				if (gpu.facts.late) await compiled;
				else compiled.catch(() => {});
				return { gpu, model };
			});
			/** The plan as it is by now: a picture made after it was settled says so. */
			const metadata = () => ({
				...(label === undefined ? { prompt } : { class: label }),
				seed,
				plan,
				model: folder.info.id,
				digest: folder.digest,
				numerics: model.numerics,
			});
			const scales: Record<string, unknown>[] = [];
			const run = () => plan.steps.filter(({ kind }) => kind === "run").length;
			using bar = terminal.progress("{bar} scale {value}/{total} {grid} {stage} {ms} ms");
			bar.start(run(), { grid: "", stage: "", ms: 0 });
			for await (const result of model.generate({
				plan,
				...subject,
				seed,
				previews: scalesDir ? "all" : "none",
				signal: terminal.signal,
			})) {
				if (result.kind === "scale") {
					const { step, index, grid, stage, milliseconds, preview } = result;
					bar.update(step, { grid: grid.join("x"), stage, ms: Math.round(milliseconds.transformer) });
					const file = scalesDir && preview && join(scalesDir, `scale-${String(index).padStart(2, "0")}.${type}`);
					if (file) await writeWhole(file, await encodeImage(preview, format, metadata()));
					scales.push({ scale: index, grid, stage, milliseconds, ...(file && { file }) });
				} else if (result.kind === "revision") {
					plan = result.plan;
					bar.update(result.after + 1, { total: run() });
				} else {
					bar[Symbol.dispose]();
					const { image, milliseconds } = result;
					await out.write(await encodeImage(image, format, metadata()));
					const { width, height } = image;
					const seconds = (milliseconds.total / 1000).toFixed(2);
					terminal.print(`${out.path}: ${width}x${height}, seed ${seed}, ${seconds} s`);
					terminal.result({
						out: out.path,
						width,
						height,
						...metadata(),
						adapter: gpu.facts.name,
						milliseconds: milliseconds.total,
						scales,
					});
				}
			}
		});

function promptText(text: string): string {
	if (text.trim() === "") throw new UsageError("The prompt is empty.", "Say in a few words what to draw.");
	if (!fitsPrompt(text))
		throw new UsageError(
			`The prompt has ${[...text].length} characters; at most ${MAX_PROMPT_CHARS} are allowed.`,
			"Say it shorter.",
		);
	return text;
}
