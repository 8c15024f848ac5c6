/**
 * `npx node infra/bench/kernels.ts [--model NAME | --shape NAME] [--dtype f16] [--only TEXT] [--rounds N] [--seconds N]
 * [--json FILE]`: GFLOPS of every variant of the heavy operators at a model's shapes on the adapter at hand (those
 * whose line contains TEXT), each checked against the plainest variant. `*` marks the one that runs by default, `!` one
 * whose bits differ, which is never chosen. Behind it, the best one's share of what the adapter can do at that shape:
 * the time that its operations take at the best rate seen here, or its bytes at that of a copy, whichever is longer.
 */
import { parseArgs } from "node:util";
import { keptTuning } from "../../kernels/choices.ts";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { Scope } from "../../kernels/gpu/scope.ts";
import { copy } from "../../kernels/tokens/gather.ts";
import { measure, trials } from "../../kernels/tune.ts";
import { DEFAULT_MODEL, findModel, openModelFolder } from "../../model-shards/open.ts";
import { kernelShapes } from "../../worker/engine/shapes.ts";
import { DTYPES } from "../../worker/families/shared/weights.ts";
import { positive } from "../cli/options.ts";
import { outputFile } from "../cli/output.ts";
import { script } from "../cli/script.ts";
import { oneOf, whole } from "../cli/usage.ts";
import { SHAPES } from "./shape.ts";

await script(
	"npx node infra/bench/kernels.ts [--model NAME | --shape NAME] [--dtype f16] [--only TEXT] [--rounds N] " +
		"[--seconds N] [--json FILE]",
	kernels,
);
process.exit(0);

async function kernels(): Promise<void> {
	const { values } = parseArgs({
		options: {
			model: { type: "string", default: DEFAULT_MODEL },
			shape: { type: "string" },
			dtype: { type: "string", default: "f32" },
			only: { type: "string", default: "" },
			rounds: { type: "string", default: "3" },
			seconds: { type: "string", default: "3600" },
			json: { type: "string" },
		},
	});
	const rounds = whole("rounds", values.rounds, 1, 1000);
	const seconds = positive("seconds")(values.seconds);
	const dtype = oneOf("dtype", values.dtype, DTYPES);
	const named =
		values.shape &&
		oneOf(
			"shape",
			values.shape,
			SHAPES.map(({ name }) => name),
		);
	const shape = SHAPES.find(({ name }) => name === named);
	const json = await outputFile("--json", values.json);
	const gpu = await openGpu();
	gpu.tuning = keptTuning(gpu);
	const folder = shape ? shape.folder(1) : await openModelFolder(findModel(values.model));
	const name = shape?.name ?? values.model;
	const deadline = performance.now() + seconds * 1000;
	const bandwidth = await copyRate(gpu);
	console.log(`${name} on ${gpu.facts.name} (${gpu.facts.driver}); GFLOPS, best of ${rounds}`);
	console.log(`copying: ${bandwidth.toFixed(1)} GB/s, read and written`);

	const rows = [];
	let left = 0;
	for (const trial of trials(kernelShapes(folder, dtype))) {
		if (!trial.name.includes(values.only)) continue;
		if (performance.now() > deadline) {
			left++;
			continue;
		}
		const chosen = trial.chosen(gpu).name;
		const measured = await measure(gpu, trial, rounds);
		const read = trial.inputs.reduce((sum, { size, dtype }) => sum + size * (dtype === "f16" ? 2 : 4), 0);
		const right = measured.filter((each) => each.right).map(({ milliseconds }) => milliseconds);
		rows.push({
			shape: trial.name,
			chosen,
			flops: trial.flops,
			bytes: read + 4 * trial.outputs,
			best_ms: Math.min(...right),
			variants: measured.map(({ variant, milliseconds, right }) => ({
				variant,
				gflops: Number((trial.flops / milliseconds / 1e6).toFixed(2)),
				right,
			})),
		});
	}
	const rate = Math.max(...rows.map(({ flops, best_ms }) => flops / best_ms / 1e6));
	// Milliseconds that no program is under at these limits.
	const least = (flops: number, bytes: number) => Math.max(flops / rate, bytes / bandwidth) / 1e6;
	const report = rows.map((row) => ({ ...row, share: least(row.flops, row.bytes) / row.best_ms }));
	for (const { shape, chosen, variants, share } of report) {
		const said = variants.map(
			({ variant, gflops, right }) => `${variant === chosen ? "*" : ""}${variant}${right ? "" : "!"} ${gflops}`,
		);
		console.log(`${shape}: ${said.join(" · ")} (${(100 * share).toFixed(0)} %)`);
	}
	if (left > 0) console.log(`${left} shapes were left out: the time was spent.`);
	const limits = { gflops: rate, copy_gigabytes_a_second: bandwidth };
	const document = { model: name, dtype, adapter: gpu.facts, limits, left_out: left, report };
	await json?.write(JSON.stringify(document, null, "\t"));
}

/** GB/s, read and written, of a copy that no cache holds on a GPU. */
async function copyRate(gpu: Gpu): Promise<number> {
	const count = gpu.facts.software ? 1 << 22 : 1 << 26;
	using scope = new Scope(gpu);
	const x = scope.tensor("copy from", [count]);
	const y = scope.tensor("copy to", [count]);
	const times: number[] = [];
	const REPEATS = 8;
	for (let i = 0; i < 4; i++) {
		const begun = performance.now();
		const pass = gpu.pass("copy");
		for (let j = 0; j < REPEATS; j++) copy(pass, { x, y, count, label: "copy" });
		pass.submit();
		await gpu.read([{ ...y, bytes: 16 }]);
		times.push((performance.now() - begun) / REPEATS);
	}
	return (2 * 4 * count) / Math.min(...times) / 1e6;
}
