/**
 * `npx node infra/bench/kernels.ts [--model NAME] [--only TEXT] [--rounds N] [--json FILE]`: GFLOPS of every variant of
 * the heavy operators at a model's shapes on the adapter at hand (those whose line contains TEXT), each checked against
 * the plainest variant. `*` marks the one that runs by default, `!` one whose bits differ, which is never chosen.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { keptTuning } from "../../kernels/choices.ts";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { measure, trials } from "../../kernels/tune.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { kernelShapes } from "../../worker/engine/shapes.ts";

const { values } = parseArgs({
	options: {
		model: { type: "string", default: "emoji-128" },
		only: { type: "string", default: "" },
		rounds: { type: "string", default: "3" },
		json: { type: "string" },
	},
});
const gpu = await openGpu();
gpu.tuning = keptTuning(gpu);
const shapes = kernelShapes(await openModelFolder(findModel(values.model)));
console.log(`${values.model} on ${gpu.facts.name} (${gpu.facts.driver}); GFLOPS, best of ${values.rounds}`);

const report = [];
for (const trial of trials(shapes)) {
	if (!trial.name.includes(values.only)) continue;
	const chosen = trial.chosen(gpu).name;
	const variants = (await measure(gpu, trial, Math.max(1, Number(values.rounds)))).map(
		({ variant, milliseconds, right }) => ({
			variant,
			gflops: Number((trial.flops / milliseconds / 1e6).toFixed(2)),
			right,
		}),
	);
	report.push({ shape: trial.name, chosen, variants });
	const said = variants.map(
		({ variant, gflops, right }) => `${variant === chosen ? "*" : ""}${variant}${right ? "" : "!"} ${gflops}`,
	);
	console.log(`${trial.name}: ${said.join(" · ")}`);
}
if (values.json)
	writeFileSync(values.json, JSON.stringify({ model: values.model, adapter: gpu.facts, report }, null, "\t"));
process.exit(0);
