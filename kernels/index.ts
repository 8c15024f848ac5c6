/** The operators that have variants, by the names that shapes are listed under. */
import { type AttentionShape, attentionTunable } from "./attention/attention.ts";
import { type SequenceShape, sequenceTunable } from "./attention/sequence-attention.ts";
import type { Tunable } from "./gpu/variants.ts";
import { type ConvShape, convTunable } from "./image/conv.ts";
import { type MatmulShape, matmulTunable } from "./matmul/matmul.ts";

interface ShapeOf {
	matmul: MatmulShape;
	conv: ConvShape;
	attention: AttentionShape;
	sequenceAttention: SequenceShape;
}

/** Shapes that a model runs operators at; the first of a class speaks for it. */
export type Shapes = { readonly [Name in keyof ShapeOf]?: readonly ShapeOf[Name][] };

export const tunables: { readonly [Name in keyof ShapeOf]: Tunable<ShapeOf[Name]> } = {
	matmul: matmulTunable,
	conv: convTunable,
	attention: attentionTunable,
	sequenceAttention: sequenceTunable,
};
