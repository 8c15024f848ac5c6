import { struct, type Values } from "../gpu/kernel.ts";

/** One job's part of a batch of logits. */
export const SAMPLE_ROW = struct("SampleRow", {
	/** First token of the conditional and of the unconditional row in the batch; equal when only one row runs. */
	cond: "u32",
	uncond: "u32",
	tokens: "u32",
	/** First token in the outputs. */
	out: "u32",
	guidance: "f32",
	tau: "f32",
	/** Most likely values kept: 1 is the argmax, 0 keeps all. */
	topK: "u32",
	/** Nucleus mass, 0 = off. */
	topP: "f32",
	seed: "u32",
	scale: "u32",
});
export type SampleRow = Values<typeof SAMPLE_ROW.fields>;
