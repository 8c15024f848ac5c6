import { expect, it } from "vitest";
import { inspectionText } from "../infra/cli/inspect.ts";
import { findModel, openModelFolder } from "./folder.ts";
import { infinity } from "./infinity-published.ts";
import { inspect } from "./inspect.ts";
import { type Dtype, type Manifest, tensorBytes, type TensorEntry } from "./manifest.ts";

it("the default model adds up, by part and by type", async () => {
	const { manifest, digest } = await openModelFolder(findModel("emoji-128"));
	const { parts, dtypes, total, device, unsupported } = inspect(manifest);
	expect(parts.map(({ of }) => of)).toEqual(["text_encoder", "transformer", "vae"]);
	for (const shares of [parts, dtypes]) {
		expect(shares.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(total.bytes);
		expect(shares.reduce((sum, { parameters }) => sum + parameters, 0)).toBe(total.parameters);
	}
	expect(device).toEqual({ weights: 4 * total.parameters, split: [] });
	expect(unsupported).toBeNull();
	expect(inspectionText(inspect(manifest), digest)).toMatch(/^emoji-128, family infinity, sha256:[0-9a-f]{64}\npictures: 1:1 128x128 in \d+ scales\n/);
});

it("the 8B asks for its gigabytes and says which tensors a binding cannot hold", () => {
	const manifest = described("8b", true);
	const { total, dtypes, device, unsupported } = inspect(manifest);
	expect(total.parameters).toBeGreaterThan(8e9);
	expect(dtypes.map(({ of }) => of).sort()).toEqual(["F16", "I4"]);
	expect(total.bytes).toBeLessThan(0.6 * total.parameters);
	expect(device.weights).toBe(4 * total.parameters);
	expect(device.split.find(({ name }) => name === "transformer.block_chunks.0.module.0.ffn.fc1.weight")).toEqual({ name: expect.any(String), bytes: 4 * 14336 * 3584, buffers: 2 });
	expect(unsupported).toMatch(/is I4; import the model with/);
	expect(inspect(described("8b", false)).unsupported).toBe("it uses spatial patchify");
});

/** What an import of a published size would say, without its numbers or their places. */
function described(size: string, quantized: boolean): Manifest {
	const { wanted, head } = infinity.describe(size);
	const tensors = wanted.flatMap(({ name, shape, matmul }): TensorEntry[] => {
		const entry = (name: string, dtype: Dtype, shape: number[]): TensorEntry => ({ name, dtype, shape, shard: 0, offset: 0, bytes: tensorBytes(dtype, shape) as number });
		if (!quantized || !matmul) return [entry(name, "F16", shape)];
		const scales = `${name}.scales`;
		return [{ ...entry(name, "I4", shape), quantization: { group: 32, scales } }, entry(scales, "F16", [shape[0], shape[1] / 32])];
	});
	return { ...head, format: "firstlight-model", version: 1, tokenizer: null, tensors, shards: [] };
}
