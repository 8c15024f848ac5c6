import { expect, it } from "vitest";
import { inspectionText } from "../../../infra/cli/inspect.ts";
import { findModel, openModelFolder } from "../../../model-shards/open.ts";
import { families } from "../../families/index.ts";
import { plannedModel } from "../../families/planned.ts";
import { BINDING_BYTES, inspect } from "./inspect.ts";
import { memoryNeed } from "./memory.ts";

it("the default model adds up, by part and by type", async () => {
	const folder = await openModelFolder(findModel("emoji-128"));
	const { parts, dtypes, total, device, precisions } = inspect(folder);
	expect(parts.map(({ of }) => of)).toEqual(["text_encoder", "transformer", "vae"]);
	for (const shares of [parts, dtypes]) {
		expect(shares.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(total.bytes);
		expect(shares.reduce((sum, { parameters }) => sum + parameters, 0)).toBe(total.parameters);
	}
	// Padding to fours, and the keys' biases, are all that the device adds.
	expect(device).toEqual({ stored: total.bytes, resident: precisions.f32.resident, over: [] });
	expect(device.resident / (4 * total.parameters)).toBeCloseTo(1, 2);
	expect(precisions.f32.stored).toBe(4 * total.parameters);
	expect(precisions.int4.stored).toBeLessThan(precisions.int8.stored);
	const text = inspectionText(folder, folder.digest);
	expect(text).toMatch(/^emoji-128, family infinity, sha256:[0-9a-f]{64}\npictures: 1:1 128x128 in \d+ scales\n/);
	expect(text).toMatch(
		/\ntext encoder: [\d.]+ MiB of that .* [\d.]+ MiB in all while one is encoded, [\d.]+ MiB while /,
	);
	expect(text).toMatch(/\nint8 +[\d.]+ MiB +[\d.]+ MiB +0 +[\d.]+ MiB\n/);
});

it("the 8B asks for its gigabytes and says which tensors a binding cannot hold", () => {
	const model = plannedModel("infinity", "8b", { precision: "int4" });
	const { total, dtypes, device, precisions } = inspect(model);
	expect(total.parameters).toBeGreaterThan(8e9);
	expect(dtypes.map(({ of }) => of).sort()).toEqual(["F16", "F32", "I4"]);
	expect(total.bytes).toBeLessThan(0.6 * total.parameters);
	// Four bits, and a scale of 32 for 32 numbers.
	expect(device.resident / total.parameters).toBeCloseTo(5 / 8, 1);
	expect(device.over).toEqual([]);
	expect(precisions.int4).toEqual(device);
	const fc1 = "transformer.block_chunks.0.module.0.ffn.fc1.weight";
	expect(precisions.f32.over.find(({ name }) => name === fc1)).toEqual({
		name: fc1,
		bytes: 4 * 14336 * 3584,
		buffers: 2,
	});
	expect(precisions.f16.over.map(({ name }) => name)).toEqual(["transformer.shared_ada_lin.1.weight"]);
	expect(inspect(plannedModel("infinity", "2b")).device.over).toEqual([]);
});

it("no published model has a tensor that is bound whole beyond WebGPU's default binding", () => {
	for (const [name, { published }] of Object.entries(families))
		for (const size of published.sizes) {
			const { largest } = memoryNeed(plannedModel(name, size), { bindingBytes: BINDING_BYTES });
			expect(largest.bytes, `${name} ${size}: ${largest.name}`).toBeLessThanOrEqual(BINDING_BYTES);
		}
});
