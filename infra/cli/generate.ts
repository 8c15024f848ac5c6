import { mkdir, writeFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { SingleBar } from "cli-progress";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { openModel } from "../../worker/engine/open.ts";
import { encodeImage } from "../../worker/gpu/encode.ts";
import type { ImageFormat } from "../../worker/protocol/job.ts";
import { MAX_CLASSES, MAX_PROMPT_CHARS, MAX_SEED } from "../../worker/protocol/limits.ts";
import { openFolderWithBar } from "./open-folder.ts";
import { policyNamed, readPlan } from "./plan.ts";
import { parse, UsageError, whole } from "./usage.ts";

const FORMATS: Record<string, ImageFormat["type"]> = {
	".png": "png",
	".webp": "webp",
	".jpg": "jpeg",
	".jpeg": "jpeg",
};

/** One picture without the edge. Ctrl-C stops between scales. */
export async function generateCommand(args: string[]): Promise<number> {
	const { values, positionals } = parse({
		args,
		allowPositionals: true,
		options: {
			model: { type: "string", default: "emoji-128" },
			class: { type: "string" },
			policy: { type: "string" },
			plan: { type: "string" },
			schedule: { type: "string" },
			seed: { type: "string" },
			out: { type: "string", default: "firstlight.png" },
			quality: { type: "string", default: "90" },
			"scales-dir": { type: "string" },
		},
	});
	const [prompt = ""] = positionals;
	const label = values.class === undefined ? undefined : whole("class", values.class, 0, MAX_CLASSES - 1);
	if (positionals.length !== (label === undefined ? 1 : 0) || (label === undefined && !prompt.trim()))
		throw new UsageError("generate takes one prompt, in quotes, or --class N.");
	if (prompt.length > MAX_PROMPT_CHARS)
		throw new UsageError(`The prompt has ${prompt.length} characters; at most ${MAX_PROMPT_CHARS} are allowed.`);
	if (values.plan !== undefined && values.policy !== undefined)
		throw new UsageError("--plan stands in place of a policy; give one of them.");
	const policy = policyNamed(values.policy ?? "exact");
	const type = FORMATS[extname(values.out).toLowerCase()];
	if (!type) throw new UsageError(`--out must end in ${Object.keys(FORMATS).join(", ")}.`);
	const seed =
		values.seed === undefined ? crypto.getRandomValues(new Uint32Array(1))[0] : whole("seed", values.seed, 0, MAX_SEED);
	const format: ImageFormat = { type, quality: whole("quality", values.quality, 1, 100) };

	const folder = await openFolderWithBar(values.model);
	const plan =
		values.plan === undefined
			? policy.plan(folder.info, { schedule: values.schedule })
			: await readPlan(values.plan, folder.info, values.schedule);
	const gpu = await openGpu();
	console.error(`Adapter: ${gpu.facts.name}`);
	const model = await openModel(gpu, folder);
	const abort = new AbortController();
	process.once("SIGINT", () => abort.abort());
	const scalesDir = values["scales-dir"];
	if (scalesDir) await mkdir(scalesDir, { recursive: true });
	const metadata = {
		...(label === undefined ? { prompt } : { class: label }),
		seed,
		plan,
		model: folder.info.id,
		digest: folder.digest,
		numerics: model.numerics,
	};
	const bar = new SingleBar({
		format: "{bar} scale {value}/{total} {grid} {stage} {ms} ms",
		stream: process.stderr,
		hideCursor: true,
	});
	bar.start(plan.steps.filter(({ kind }) => kind === "run").length, 0, { grid: "", stage: "", ms: 0 });
	try {
		for await (const result of model.generate({
			plan,
			...(label === undefined ? { prompt } : { label }),
			seed,
			previews: scalesDir ? "all" : "none",
			signal: abort.signal,
		})) {
			if (result.kind === "scale") {
				const { step, index, grid, stage, milliseconds, preview } = result;
				bar.update(step, { grid: grid.join("x"), stage, ms: Math.round(milliseconds.transformer) });
				if (scalesDir && preview)
					await writeFile(
						join(scalesDir, `scale-${String(index).padStart(2, "0")}.${type}`),
						await encodeImage(preview, format, metadata),
					);
			} else if (result.kind === "revision") {
				bar.setTotal(result.plan.steps.filter(({ kind }) => kind === "run").length);
			} else {
				bar.stop();
				await writeFile(values.out, await encodeImage(result.image, format, metadata));
				console.log(
					`${values.out}: ${result.image.width}x${result.image.height}, seed ${seed}, ${(result.milliseconds.total / 1000).toFixed(2)} s`,
				);
			}
		}
	} finally {
		bar.stop();
	}
	return 0;
}
