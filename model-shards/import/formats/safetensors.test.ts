import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ModelFormatError } from "../../format/errors.ts";
import { type Header, safetensorsBytes } from "../../testing.ts";
import { openSafetensors } from "./safetensors.ts";

const dir = await mkdtemp(join(tmpdir(), "safetensors-"));
const two = {
	a: { dtype: "F32", shape: [2], bytes: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) },
	b: { dtype: "F16", shape: [1, 3], bytes: Uint8Array.of(9, 10, 11, 12, 13, 14) },
};
let files = 0;
async function write(bytes: Uint8Array): Promise<string> {
	const path = join(dir, `${files++}.safetensors`);
	await writeFile(path, bytes);
	return path;
}
const edited = (edit: (header: Header) => void) => safetensorsBytes(two, edit);
function withLength(length: bigint): Uint8Array {
	const bytes = safetensorsBytes(two);
	new DataView(bytes.buffer).setBigUint64(0, length, true);
	return bytes;
}
function headerOf(text: string): Uint8Array {
	const bytes = new Uint8Array(8 + text.length);
	new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
	bytes.set(new TextEncoder().encode(text), 8);
	return bytes;
}
/** Both names as they stand in the JSON text. */
function renamed(from: string, to: string): Uint8Array {
	const whole = Buffer.from(safetensorsBytes(two));
	const length = Number(whole.readBigUInt64LE(0));
	const text = whole.toString("utf8", 8, 8 + length).replace(`"${from}":`, `"${to}":`);
	return Uint8Array.from([...headerOf(text), ...whole.subarray(8 + length)]);
}

it("reads tensors one by one", async () => {
	await using file = await openSafetensors(await write(safetensorsBytes(two)));
	expect(Object.fromEntries(file.tensors)).toEqual({
		a: { dtype: "F32", shape: [2], bytes: 8 },
		b: { dtype: "F16", shape: [1, 3], bytes: 6 },
	});
	expect(await file.read("b")).toEqual(two.b.bytes);
	expect(await file.read("a")).toEqual(two.a.bytes);
	expect(await file.read("b", 2, 6)).toEqual(two.b.bytes.slice(2));
	await expect(file.read("b", 1, 6)).rejects.toThrow(/in elements of 2/);
	await expect(file.read("c")).rejects.toThrow(/no tensor c/);
});

it.each<[string, Uint8Array, RegExp]>([
	["an empty file", new Uint8Array(0), /too few/],
	["a header past the end", withLength(5000n), /claims 5000 bytes and the file has/],
	[
		"a header length beyond every number",
		withLength(2n ** 64n - 1n),
		/claims 18446744073709551615 bytes, more than 16777216/,
	],
	["a header that is no JSON", withLength(9n), /not JSON/],
	["a cut file", safetensorsBytes(two).subarray(0, -1), /tensors end at byte .*, the file at/],
	["bytes behind the last tensor", Uint8Array.from([...safetensorsBytes(two), 0]), /tensors end at byte/],
	["an unknown type", edited((h) => (h.a.dtype = "constructor")), /unknown type constructor/],
	["a shape that is not its length", edited((h) => (h.a.shape = [3])), /F32 \[3\] is 12 bytes, its offsets span 8/],
	["a shape that overflows", edited((h) => (h.a.shape = [2 ** 52, 2 ** 52])), /offsets span 8/],
	["a negative offset", edited((h) => (h.a.data_offsets = [-8, 0])), /tensor a/],
	[
		"overlapping tensors",
		edited((h) => (h.b.data_offsets = [6, 12])),
		/tensor b starts at 6, the data before it ends at 8/,
	],
	["a hole", edited((h) => (h.b.data_offsets = [10, 16])), /tensor b starts at 10/],
	["a name twice", renamed("b", "a"), /its header has "a" twice/],
	["a name twice, once in escapes", renamed("b", "\\u0061"), /its header has "a" twice/],
	["nesting without end", headerOf(`{"a":${"[".repeat(1e6)}`), /nested deeper than 3/],
	["metadata that is no text", edited((h) => (h.__metadata__ = { format: 1 })), /__metadata__ is not text/],
	["an offset beyond every number", edited((h) => (h.a.data_offsets = [2 ** 60, 2 ** 60 + 8])), /tensor a/],
	["an unknown field", edited((h) => (h.a.stride = 1)), /tensor a/],
])("refuses %s", async (_, bytes, message) => {
	const opened = openSafetensors(await write(bytes));
	await expect(opened).rejects.toThrow(message);
	await expect(opened).rejects.toBeInstanceOf(ModelFormatError);
});

it("says which file is missing", async () => {
	await expect(openSafetensors(join(dir, "none.safetensors"))).rejects.toThrow(/Cannot open .*none\.safetensors/);
});
