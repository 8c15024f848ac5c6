/** A model's text encoder on the device: beside everything else, or only while texts are encoded. */
import { OutOfMemoryError } from "../../../kernels/gpu/errors.ts";
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import { type Dtype, type WeightSource, Weights } from "../shared/weights.ts";
import type { TextEncoderConfig } from "./config.ts";
import { PromptFeatures, type TextEncoder, type VisitingEncoder } from "./prompt-features.ts";
import { isText } from "./tensors.ts";
import { TextTransformer } from "./transformer.ts";

/** Whether the encoder stays as long as the model, or comes for a text that is not known yet and goes. */
export type EncoderStay = "stays" | "visits";

/** The features that an encoder makes whose weights stay, in the scope with its workspace; none without an encoder. */
export const residentPrompts = (
	scope: Scope,
	gpu: Gpu,
	config: TextEncoderConfig | null | undefined,
	weights: Weights,
): PromptFeatures | undefined =>
	config ? new PromptFeatures(scope, gpu, new TextTransformer(gpu, scope, config, weights)) : undefined;

/** A source's tensors of these names alone. */
export const partOf = (
	{ manifest, wanted, tensors }: WeightSource,
	wants: (name: string) => boolean,
): WeightSource => ({
	manifest: { tensors: manifest.tensors.filter(({ name }) => wants(name)) },
	wanted: wanted.filter(({ name }) => wants(name)),
	async *tensors() {
		for await (const tensor of tensors(wants)) if (wants(tensor.name)) yield tensor;
	},
});

/**
 * Comes with its weights, of `dtype`, and `bytes` in all, for which there has to be room: throws OutOfMemoryError where
 * there is none, and what reading the source throws.
 */
export function visitingEncoder(
	gpu: Gpu,
	source: WeightSource,
	config: TextEncoderConfig,
	{ dtype, bytes }: { dtype: Dtype; bytes: number },
): VisitingEncoder {
	return {
		config,
		async visit(tried): Promise<TextEncoder & Disposable> {
			const fits = await gpu.room(bytes);
			tried();
			if (!fits)
				throw new OutOfMemoryError(
					`There is no device memory for the text encoder: ${bytes} bytes beside the ${gpu.bytes} in use ` +
						`(${gpu.facts.name}).`,
				);
			using made = new DisposableStack();
			const loaded = await Weights.load(gpu, partOf(source, isText), undefined, dtype);
			const weights = made.adopt(loaded, (weights) => weights.destroy());
			const encoder = new TextTransformer(gpu, made.use(new Scope(gpu)), config, weights);
			const owned = made.move();
			return {
				config,
				record: (...args) => encoder.record(...args),
				[Symbol.dispose]: () => owned.dispose(),
			};
		},
	};
}
