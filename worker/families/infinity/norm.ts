import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { layerNorm, rmsNorm } from "../../../kernels/norm/layer-norm.ts";
import type { Projection } from "../shared/weights.ts";
import type { InfinityConfig } from "./config.ts";

/** y = norm(x), [tokens, width], with its own weights. Throws RangeError where LayerNorm's have no bias. */
export function ownNorm(
	pass: Pass,
	{ width, normEps: eps, norm }: InfinityConfig,
	{ weight, bias }: Projection,
	{ x, y, tokens, label }: { x: Tensor; y: Tensor; tokens: number; label: string },
): void {
	if (norm === "rms") rmsNorm(pass, { x, y, weight, tokens, width, eps, label });
	else if (bias) layerNorm(pass, { x, y, weight, bias, tokens, width, eps, label });
	else throw new RangeError(`${label}: its LayerNorm has no bias. Import the model again from its checkpoint.`);
}
