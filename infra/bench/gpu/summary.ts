/**
 * `node infra/bench/gpu/summary.ts OUT`: what the parts of `infra/bench/gpu.sh` say together, as JSON: its parts, and
 * for every shape the scales of the exact plan beside the same blocks in PyTorch, and operators by their share of the
 * limits.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

const [folder] = process.argv.slice(2);
if (!folder) throw new Error("Name the folder that gpu.sh wrote: node infra/bench/gpu/summary.ts OUT");

const Part = z.object({ part: z.string(), result: z.string(), seconds: z.number(), limit: z.number() });
const ShapeRun = z.object({
	shape: z.object({
		shape: z.string(),
		blocks: z.number(),
		policies: z.array(
			z.object({
				policy: z.string(),
				total_ms: z.number().nullable(),
				scales: z.array(
					z.object({
						scale: z.number(),
						grid: z.string(),
						measured_ms: z.number().nullable(),
						gflops: z.number().nullable(),
					}),
				),
			}),
		),
	}),
});
const Timed = z.array(z.object({ scale: z.number(), ms: z.number().nullable() }));
const Limits = z.object({ matmul_tflops: z.number().nullable(), copy_gigabytes_a_second: z.number().nullable() });
const Torch = z.union([
	z.object({ torch: z.null(), why: z.string() }),
	z.object({
		torch: z.string(),
		device: z.string(),
		limits: Limits,
		eager: Timed,
		compiled: Timed.nullable(),
		why_not_compiled: z.string().optional(),
	}),
]);
const Verified = z.object({ misses: z.number(), runs: z.array(z.object({ comparisons: z.array(z.object({})) })) });
const Kernels = z.object({
	limits: z.object({ gflops: z.number(), copy_gigabytes_a_second: z.number() }),
	report: z.array(
		z.object({ shape: z.string(), chosen: z.string(), flops: z.number(), bytes: z.number(), best_ms: z.number() }),
	),
});

const parts = readFileSync(join(folder, "parts.jsonl"), "utf8")
	.trim()
	.split("\n")
	.map((line) => Part.parse(JSON.parse(line)));
const shapes = parts.flatMap(({ part }) => /^shape-(.+)$/.exec(part)?.[1] ?? []).map(shapeSummary);
const verified = ["f32", "f16"].map((dtype) => ({ dtype, ...verifySummary(dtype) }));
console.log(JSON.stringify({ parts, verified, shapes }, null, "\t"));

function verifySummary(dtype: string) {
	const verified = part(`verify-${dtype}`, Verified);
	if (!verified) return { why: "this part failed" };
	const { misses, runs } = verified;
	return { tensors: runs.reduce((sum, { comparisons }) => sum + comparisons.length, 0), misses };
}

function shapeSummary(name: string) {
	const run = part(`shape-${name}`, ShapeRun)?.shape;
	const torch = part(`torch-${name}`, Torch) ?? { torch: null, why: "this part failed" };
	const kernels = part(`kernels-${name}`, Kernels);
	const exact = run?.policies.find(({ policy }) => policy === "exact");
	const peer = torch.torch === null ? undefined : torch;
	const of = (times: z.infer<typeof Timed> | null | undefined, scale: number) =>
		times?.find((each) => each.scale === scale)?.ms ?? null;
	const scales = exact?.scales.flatMap(({ scale, grid, measured_ms, gflops }) => {
		if (measured_ms === null) return [];
		const [eager_ms, compiled_ms] = [of(peer?.eager, scale), of(peer?.compiled, scale)];
		const best = Math.min(...[eager_ms, compiled_ms].filter((ms) => ms !== null));
		const times_torch = best < Infinity ? measured_ms / best : null;
		return [{ scale, grid, firstlight_ms: measured_ms, gflops, eager_ms, compiled_ms, times_torch }];
	});
	return {
		shape: name,
		blocks: run?.blocks,
		policies: run?.policies.map(({ policy, total_ms }) => ({ policy, total_ms })),
		scales,
		torch: torch.torch === null ? { missing: torch.why } : { version: torch.torch, device: torch.device },
		not_compiled: peer?.why_not_compiled,
		limits: { firstlight: kernels?.limits, torch: peer?.limits },
		operators: kernels && shares(kernels, peer?.limits),
	};
}

/** Each operator's least time at the card's limits, as the better of the two reaches them, by the time it takes. */
function shares({ limits, report }: z.infer<typeof Kernels>, torch: z.infer<typeof Limits> | undefined) {
	const gflops = Math.max(limits.gflops, 1000 * (torch?.matmul_tflops ?? 0));
	const bandwidth = Math.max(limits.copy_gigabytes_a_second, torch?.copy_gigabytes_a_second ?? 0);
	return report.map(({ shape, chosen, flops, bytes, best_ms }) => {
		const [matmul, memory] = [flops / gflops / 1e6, bytes / bandwidth / 1e6];
		const share = Math.max(matmul, memory) / best_ms;
		return { shape, chosen, best_ms, bound: matmul > memory ? "matmul" : "memory", share };
	});
}

/** Undefined where the part failed or has another form. */
function part<T>(name: string, schema: z.ZodType<T>): T | undefined {
	const path = join(folder, `${name}.json`);
	if (!existsSync(path)) return undefined;
	try {
		return schema.parse(JSON.parse(readFileSync(path, "utf8")));
	} catch {
		return undefined;
	}
}
