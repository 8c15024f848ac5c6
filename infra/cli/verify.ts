import { openGpu } from "../../kernels/gpu/native/open.ts";
import { findModel } from "../../model-shards/open.ts";
import { DTYPES } from "../../worker/families/shared/weights.ts";
import type { Comparison } from "../verify/compare.ts";
import { verifySet } from "../verify/verify.ts";
import { oneOf, parse, UsageError } from "./usage.ts";

/** Exit code 1 when any tensor of any set misses its bound. */
export async function verifyCommand(args: string[]): Promise<number> {
	const { positionals, values } = parse({
		args,
		allowPositionals: true,
		options: {
			model: { type: "string" },
			dtype: { type: "string", default: "f32" },
			cache: { type: "string", default: "f32" },
		},
	});
	const model = values.model === undefined ? undefined : findModel(values.model);
	if (positionals.length === 0) throw new UsageError("verify needs at least one folder of the reference format.");
	const [dtype, cacheDtype] = [oneOf("dtype", values.dtype, DTYPES), oneOf("cache", values.cache, DTYPES)];
	const gpu = await openGpu();
	console.log(`Adapter: ${gpu.facts.name} (${gpu.facts.driver})`);
	let missed = 0;
	for (const dir of positionals) {
		for await (const { name, comparisons } of verifySet(gpu, dir, model, { dtype, cacheDtype })) {
			console.log(`\n${dir} · ${name}`);
			for (const comparison of comparisons) console.log(line(comparison));
			const misses = comparisons.filter(({ ok }) => !ok).length;
			missed += misses;
			console.log(`  ${comparisons.length - misses} of ${comparisons.length} tensors within their bounds`);
		}
	}
	console.log(missed === 0 ? "\nAll tensors are within their bounds." : `\n${missed} tensors miss their bounds.`);
	return missed === 0 ? 0 : 1;
}

function line({ name, ok, error, bound, mean, meanBound, missing }: Comparison): string {
	const detail =
		missing ??
		`max error ${error.toExponential(2)}, bound ${bound.toExponential(2)}${meanBound === undefined ? "" : `; mean ${mean.toExponential(2)}, bound ${meanBound.toExponential(2)}`}`;
	return `  ${ok ? "ok  " : "MISS"} ${name.padEnd(22)} ${detail}`;
}
