import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { silu } from "../../../kernels/pointwise/activation.ts";
import type { Weights } from "../shared/weights.ts";
import { TIME_CHANNELS } from "./tensors.ts";

/**
 * A table [times, width] in the scope: each through cosines, then sines, of falling frequencies, a linear map, SiLU and
 * another.
 */
export function timeEmbeddings(
	scope: Scope,
	gpu: Gpu,
	weights: Weights,
	module: string,
	times: readonly number[],
	width: number,
): Tensor {
	const half = TIME_CHANNELS / 2;
	const frequencies = Array.from({ length: half }, (_, i) => Math.fround(Math.exp((-Math.log(10_000) * i) / half)));
	const features = times.flatMap((time) =>
		[Math.cos, Math.sin].flatMap((of) => frequencies.map((frequency) => of(Math.fround(time * frequency)))),
	);
	const m = times.length;
	const table = scope.tensor(`${module} table`, [m, width]);
	// What is submitted runs, though its inputs are freed when this returns.
	using work = new Scope(gpu);
	const x = work.upload(`${module} features`, [m, TIME_CHANNELS], Float32Array.from(features));
	const inner = work.tensor(`${module} inner`, [m, width]);
	const activated = work.tensor(`${module} silu`, [m, width]);
	const pass = gpu.pass(module);
	const [first, second] = ["mlp.0", "mlp.2"].map((name) => ({
		...weights.linear(`${module}.${name}`),
		m,
		n: width,
		label: `${module}.${name}`,
	}));
	matmul(pass, { x, y: inner, ...first, k: TIME_CHANNELS });
	silu(pass, { x: inner, y: activated, count: m * width, label: `${module} silu` });
	matmul(pass, { x: activated, y: table, ...second, k: width });
	pass.submit();
	return table;
}
