/** A made-up family: VAR's blocks with RMS norms that have weights, in place of LayerNorms that have none. */
import { z } from "zod";
import type { Facts } from "../../family.ts";
import { CodebookConfig, codebookShape } from "../../shared/codebook.ts";
import type { Schedules } from "../../shared/schedules.ts";
import { Count, Layers } from "../../shared/schema.ts";
import { attentiveDecoder, VaeConfig } from "../../shared/vae.ts";

export const FifthConfig = z.strictObject({
	depth: Layers,
	width: Count,
	heads: Count,
	ffn: Count,
	classes: Count,
	normEps: z.number().gt(0),
	scales: Count,
	tokens: Count,
	codebook: CodebookConfig,
	vae: VaeConfig,
});
export type FifthConfig = z.infer<typeof FifthConfig>;

export function fifthProblems({ tokens }: FifthConfig, schedules: Schedules): string[] {
	const sum = (grids: readonly [number, number][]) =>
		grids.reduce((total, [height, width]) => total + height * width, 0);
	return Object.entries(schedules).flatMap(([name, { grids }]) =>
		sum(grids) === tokens ? [] : [`schedule ${name} has ${sum(grids)} tokens; the model has positions for ${tokens}`],
	);
}

export const fifthFacts = ({ depth, width, heads, ffn, classes, codebook, vae }: FifthConfig): Facts => ({
	shape: { depth, width, heads, ffn },
	codes: codebookShape(codebook),
	decoder: attentiveDecoder(vae),
	// Its recordings have names of their own.
	names: {
		input: "tokens_in",
		logits: "rows",
		mixed: "guided",
		latent: "canvas",
		final: "canvas_at_last",
		spanInput: "whole",
		map: (scale) => ({ name: `s${scale}.seen`, channelsFirst: false }),
		span: (block) => `block${block}`,
	},
	startTokens: 1,
	chunkBlocks: 1,
	text: null,
	classes,
});
