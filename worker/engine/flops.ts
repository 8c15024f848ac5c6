import type { InfinityConfig } from "../../model-shards/infinity-config.ts";
import type { Schedule } from "../protocol/model-info.ts";
import type { RunStep, StagePlan } from "../protocol/plan.ts";

/** Floating point operations (a multiply-add is two) of the transformer at every scale of a plan; 0 where it is skipped. */
export function transformerFlops(config: InfinityConfig, { grids }: Schedule, plan: StagePlan, textTokens: number): number[] {
	const { width: c, ffn, depth, bits } = config;
	const cached = Array.from({ length: depth }, () => 0);
	return plan.steps.map((step, scale) => {
		if (step.kind === "skip") return 0;
		const tokens = grids[scale][0] * grids[scale][1];
		let flops = 2 * tokens * (bits * c + 2 * bits * c);
		for (let block = 0; block < depth; block++) {
			const count = tokensAt(step, block, tokens);
			cached[block] += count;
			flops += 2 * count * (6 * c * c + 2 * c * ffn) + 4 * count * c * (cached[block] + textTokens);
		}
		for (const { count } of step.reduce) flops += 2 * tokens * count * c;
		return flops * (step.rows === "both" ? 2 : 1);
	});
}

const tokensAt = ({ reduce }: RunStep, block: number, tokens: number) => reduce.find(({ blocks }) => blocks[0] <= block && block < blocks[1])?.count ?? tokens;

/** Of the picture decoder on a latent of height x width. */
export function decoderFlops({ bits, vae }: InfinityConfig, height: number, width: number): number {
	const conv = (pixels: number, input: number, out: number, taps = 9) => 2 * pixels * input * out * taps;
	const residual = (pixels: number, input: number, out: number) => conv(pixels, input, out) + conv(pixels, out, out) + (input === out ? 0 : conv(pixels, input, out, 1));
	let pixels = height * width;
	let channels = vae.baseChannels * vae.multipliers[vae.multipliers.length - 1];
	let flops = conv(pixels, bits, channels) + 2 * residual(pixels, channels, channels);
	for (let level = vae.multipliers.length - 1; level >= 0; level--) {
		const out = vae.baseChannels * vae.multipliers[level];
		for (let block = 0; block <= vae.residualBlocks; block++) {
			flops += residual(pixels, channels, out);
			channels = out;
		}
		if (level === 0) break;
		pixels *= 4;
		flops += conv(pixels, channels, channels);
	}
	return flops + conv(pixels, channels, 3);
}
