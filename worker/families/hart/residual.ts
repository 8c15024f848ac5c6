import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { rmsNorm } from "../../../kernels/norm/layer-norm.ts";
import { gatherRows } from "../../../kernels/tokens/gather.ts";
import type { GraphInput, ResidualInput } from "../family.ts";
import type { Weights } from "../shared/weights.ts";
import type { HartConfig } from "./config.ts";
import { residualDiffusion } from "./diffusion.ts";

/** The residual that the diffusion makes of the last scale's tokens and codes. `cells`: of the largest latent. */
export function residualOf(
	scope: Scope,
	{ gpu, config, weights }: GraphInput<HartConfig>,
	cells: number,
): (pass: Pass, input: ResidualInput) => Tensor {
	const { width, codebook, residual } = config;
	const diffuse = residualDiffusion(scope, gpu, residual, codebook.channels, weights, cells);
	return (pass, input) => {
		const { picture, rows, tokens, guidance } = input;
		const z = condition(pass, config, weights, input);
		picture.taps.keep(pass, "diff.cond", z, [rows, tokens, width]);
		return diffuse(pass, { z, from: width, picture, tokens, rows, guidance: guidance - 1 });
	};
}

/** [rows * tokens, width]: the hidden states with the embeddings of their codes, normed. */
function condition(
	pass: Pass,
	{ width, normEps: eps, codebook: { channels } }: HartConfig,
	weights: Weights,
	{ x, at, rows, tokens, work, cell }: ResidualInput,
): Tensor {
	const { embedded, values, block } = work;
	const { attended: sum, normed: z } = block;
	const count = rows * tokens;
	const each = Array.from({ length: count }, (_, i) => i);
	const embedding = weights.linear("transformer.word_embed");
	const sides = { m: cell + tokens, k: channels, n: width };
	matmul(pass, { x: values, y: embedded, ...embedding, ...sides, label: "word_embed of codes" });
	const extra = { table: embedded, index: pass.table(each.map((i) => cell + (i % tokens))) };
	const index = pass.table(each.map((i) => at + i));
	gatherRows(pass, { x, index, y: sum, count, width, extra, label: "hidden and codes" });
	const weight = weights.get("transformer.decoder_norm.weight");
	rmsNorm(pass, { x: sum, y: z, weight, tokens: count, width, eps, label: "decoder_norm" });
	return z;
}
