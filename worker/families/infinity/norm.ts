import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { layerNorm, rmsNorm } from "../../../kernels/norm/layer-norm.ts";
import type { Weights } from "../shared/weights.ts";
import type { InfinityConfig } from "./config.ts";

/** y = norm(x), [tokens, width], with the weights of `module`. */
export function ownNorm(
	pass: Pass,
	{ config, weights }: { config: InfinityConfig; weights: Weights },
	module: string,
	op: { x: Tensor; y: Tensor; tokens: number; label: string },
): void {
	const { width, normEps: eps, norm } = config;
	if (norm === "rms") rmsNorm(pass, { ...op, width, eps, weight: weights.get(`${module}.weight`) });
	else layerNorm(pass, { ...op, width, eps, ...weights.linear(module) });
}
