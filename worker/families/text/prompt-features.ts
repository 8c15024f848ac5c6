import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { Ranges } from "../shared/ranges.ts";
import type { Weights } from "../shared/weights.ts";
import type { TextEncoderConfig } from "./config.ts";
import { TextTransformer, textWorkFloats } from "./transformer.ts";

const DEFAULT_BYTES = 64 << 20;
/**
 * Room in prompts of full length: no more than this many, and at least so many that a new one finds a gap beside the
 * last.
 */
const MOST_PROMPTS = 256;
const LEAST_PROMPTS = 3;

/** What encodes one text into rows of `features`: TextTransformer. */
export interface TextEncoder {
	readonly config: { readonly width: number; readonly maxTokens: number };
	record(pass: Pass, ids: readonly number[], features: Tensor, options: { to: number }): void;
}

interface Kept {
	start: number;
	tokens: number;
	/**
	 * The pass that encodes it, until that has been submitted: a pass that is dropped leaves rows that must be encoded
	 * again.
	 */
	encoding: Pass | null;
}

/** Rows of features that are kept. */
const promptRows = ({ width, maxTokens }: TextEncoder["config"], bytes = DEFAULT_BYTES): number =>
	Math.max(LEAST_PROMPTS * maxTokens, Math.min(MOST_PROMPTS * maxTokens, Math.floor(bytes / (4 * width))));

/**
 * Features of the prompts used last, by their token ids, on the device: another picture of the same prompt runs no
 * encoder. One tensor of a fixed size holds them; the least recently used make room.
 */
export class PromptFeatures {
	/** [rows, width] */
	readonly tensor: Tensor;
	#gpu: Gpu;
	#encoder: TextEncoder;
	#ranges = new Ranges();
	/** Least recently used first. */
	#kept = new Map<string, Kept>();

	/** `bytes`: what is kept at most, where that is enough for three prompts of full length. */
	constructor(scope: Scope, gpu: Gpu, encoder: TextEncoder, bytes = DEFAULT_BYTES) {
		const { width } = encoder.config;
		const rows = promptRows(encoder.config, bytes);
		this.#gpu = gpu;
		this.#encoder = encoder;
		this.#ranges.growTo(rows);
		this.tensor = scope.long("prompt features", [rows, width]);
	}

	/**
	 * First row of the features of `ids`, encoded in this pass unless they are kept. The next call leaves them where they
	 * are, later ones may not.
	 */
	record(pass: Pass, ids: readonly number[]): number {
		const key = ids.join();
		const known = this.#kept.get(key);
		const kept: Kept = known ?? { start: this.#take(ids.length), tokens: ids.length, encoding: pass };
		this.#kept.delete(key);
		this.#kept.set(key, kept);
		if (known && (kept.encoding === null || kept.encoding === pass)) return kept.start;
		kept.encoding = pass;
		this.#encoder.record(pass, ids, this.tensor, { to: kept.start });
		pass.afterwards(() => {
			if (!this.#gpu.rehearsing && kept.encoding === pass) kept.encoding = null;
		});
		return kept.start;
	}

	/** Room for a text; the oldest go until there is. */
	#take(tokens: number): number {
		for (;;) {
			const start = this.#ranges.take(tokens);
			if (start !== undefined) return start;
			const [key, oldest] = this.#kept.entries().next().value as [string, Kept];
			this.#kept.delete(key);
			this.#ranges.give(oldest.start, oldest.tokens);
		}
	}
}

/** The features that a text encoder makes, in the scope with its workspace; none where the model has no encoder. */
export function promptFeatures(
	scope: Scope,
	gpu: Gpu,
	encoder: TextEncoderConfig | null,
	weights: Weights,
): PromptFeatures | undefined {
	return encoder ? new PromptFeatures(scope, gpu, new TextTransformer(gpu, scope, encoder, weights)) : undefined;
}

/** Floats that they take. */
export const promptFloats = (encoder: TextEncoderConfig | null): number =>
	encoder ? textWorkFloats(encoder) + promptRows(encoder) * encoder.width : 0;
