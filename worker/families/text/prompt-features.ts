import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { Ranges } from "../shared/ranges.ts";
import type { TextEncoderConfig } from "./config.ts";

const DEFAULT_BYTES = 24 << 20;
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
/** One that is on the device only while texts are encoded. */
export interface VisitingEncoder extends Pick<TextEncoder, "config"> {
	/** Puts it there, in a turn at the device's memory. Throws what loading throws, with nothing left allocated. */
	visit(tried: () => void): Promise<TextEncoder & Disposable>;
}

interface Kept {
	start: number;
	tokens: number;
	/**
	 * The pass that encodes it, until that has been submitted, and again if that failed: it leaves rows that must be
	 * encoded again, as one does that is dropped.
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
	#encoder: TextEncoder | VisitingEncoder;
	#ranges = new Ranges();
	/** Least recently used first. */
	#kept = new Map<string, Kept>();

	/** `bytes`: what is kept at most, where that is enough for three prompts of full length. */
	constructor(scope: Scope, gpu: Gpu, encoder: TextEncoder | VisitingEncoder, bytes = DEFAULT_BYTES) {
		const { width } = encoder.config;
		const rows = promptRows(encoder.config, bytes);
		this.#gpu = gpu;
		this.#encoder = encoder;
		this.#ranges.growTo(rows);
		this.tensor = scope.long("prompt features", [rows, width]);
	}

	/** Those of a picture's texts that have to be encoded before it begins: none where the encoder stays. */
	missing(texts: readonly (readonly number[])[]): readonly (readonly number[])[] {
		if ("record" in this.#encoder) return [];
		return texts.filter((ids) => this.#kept.get(ids.join())?.encoding !== null);
	}

	/**
	 * Has the encoder come and encode these texts: all are kept until the next visit. Throws what the visit throws, and
	 * the signal's reason when it comes before the encoder's turn. `waits`: told when the device begins to encode, and
	 * when it is done.
	 */
	async encode(
		texts: readonly (readonly number[])[],
		signal?: AbortSignal,
		waits = (_: boolean): void => {},
	): Promise<void> {
		const encoder = this.#encoder;
		if ("record" in encoder) return;
		// Until it has gone: nobody is refused for what is there for a moment.
		await this.#gpu.memoryTurns.take(async (tried) => {
			using come = await encoder.visit(tried);
			waits(false);
			await this.#encodeBy(come, texts);
			waits(true);
		}, signal);
	}

	async #encodeBy(encoder: TextEncoder, texts: readonly (readonly number[])[]): Promise<void> {
		const pass = this.#gpu.pass("prompt features");
		for (const ids of texts) this.#record(pass, encoder, ids);
		try {
			// What is read says when the device is done with the encoder, and whether it did its work.
			await pass.submit([{ ...this.tensor, bytes: 16 }]);
		} catch (error) {
			for (const ids of texts) this.#forget(ids.join());
			throw error;
		}
	}

	/**
	 * First row of the features of `ids`, encoded in this pass unless they are kept. The next call leaves them where they
	 * are, later ones may not.
	 */
	record(pass: Pass, ids: readonly number[]): number {
		if ("record" in this.#encoder) return this.#record(pass, this.#encoder, ids);
		// A rehearsal is of the transformer alone.
		if (this.missing([ids]).length > 0 && !this.#gpu.rehearsing)
			throw new Error("The text of a picture was not encoded before it began.");
		return this.#kept.get(ids.join())?.start ?? 0;
	}

	#record(pass: Pass, encoder: TextEncoder, ids: readonly number[]): number {
		const key = ids.join();
		const known = this.#kept.get(key);
		const kept: Kept = known ?? { start: this.#take(ids.length), tokens: ids.length, encoding: pass };
		this.#kept.delete(key);
		this.#kept.set(key, kept);
		if (known && (kept.encoding === null || kept.encoding === pass)) return kept.start;
		kept.encoding = pass;
		encoder.record(pass, ids, this.tensor, { to: kept.start });
		pass.afterwards((read) => {
			if (this.#gpu.rehearsing) return;
			const written = () => {
				if (kept.encoding === pass) kept.encoding = null;
			};
			// Whoever comes before that encodes it again: he would not know that this pass failed.
			if (read) read.then(written, () => {});
			else written();
		});
		return kept.start;
	}

	/** Room for a text; the oldest go until there is. */
	#take(tokens: number): number {
		for (;;) {
			const start = this.#ranges.take(tokens);
			if (start !== undefined) return start;
			const [oldest] = this.#kept.keys();
			this.#forget(oldest);
		}
	}

	#forget(key: string): void {
		const kept = this.#kept.get(key);
		if (!kept) return;
		this.#kept.delete(key);
		this.#ranges.give(kept.start, kept.tokens);
	}
}

/** Floats that they take. */
export const promptFloats = (encoder: TextEncoderConfig | null): number =>
	encoder ? promptRows(encoder) * encoder.width : 0;
