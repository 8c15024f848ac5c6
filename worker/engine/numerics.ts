/** What names the bits of a result: two that carry one numerics id are equal, down to the last bit. */
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import type { Shapes } from "../../kernels/index.ts";
import { tuningId } from "../../kernels/tune.ts";
import type { Precision } from "../../model-shards/format/precision.ts";
import type { DecoderStore } from "../families/shared/decoder-size.ts";
import type { Dtype } from "../families/shared/weights.ts";

/** Raised whenever a kernel or the graph changes what it computes, down to the last bit. */
export const ENGINE_VERSION = 4;

/** What else decides the bits, beside engine, kernels and adapter. */
interface NumericsSetting {
	/** Of the model. */
	digest: string;
	/** Of its heavy operators. */
	shapes: Shapes;
	/** Of the weights, and of cached keys and values. */
	dtype: Dtype;
	cacheDtype: Precision;
	/** What the decoder's tiles follow from, where its pictures have not the bits of whole ones. */
	tiles?: { bindingBytes: number } & DecoderStore;
}

/** 32 hex digits: of engine version, kernel variants in use, types, model, adapter and driver. */
export async function numericsId(
	gpu: Gpu,
	{ digest, shapes, dtype, cacheDtype, tiles }: NumericsSetting,
): Promise<string> {
	const { name, driver } = gpu.facts;
	const decoder = tiles ? [tiles.bindingBytes, tiles.bytes, tiles.packed] : [];
	const kinds = [dtype, cacheDtype, digest, name, driver, ...decoder];
	const text = JSON.stringify([ENGINE_VERSION, tuningId(gpu, shapes), ...kinds]);
	const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
	return Array.from(hash.subarray(0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
