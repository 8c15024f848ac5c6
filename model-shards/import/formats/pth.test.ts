import { cp, mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { ModelFormatError } from "../../format/errors.ts";
import { openCheckpoint } from "../checkpoint.ts";
import { openPth } from "./pth.ts";
import { openSafetensors } from "./safetensors.ts";
import { pieces, stateDict, type TensorSource } from "./tensor-source.ts";
import { hugeZip, type Op, pickle, tensorOps, zipBytes } from "./testing-pth.ts";

const reference = (path: string) => fileURLToPath(new URL(`../../../test/reference/${path}`, import.meta.url));
const dir = await mkdtemp(join(tmpdir(), "pth-"));
afterAll(() => rm(dir, { recursive: true }));
let files = 0;
async function write(bytes: Uint8Array): Promise<string> {
	const path = join(dir, `${files++}.pth`);
	await writeFile(path, bytes);
	return path;
}

/** As the samples record them: floating types as F32, whole numbers as I32. */
async function widened(source: TensorSource, name: string): Promise<number[]> {
	const { buffer } = await source.read(name);
	switch (source.tensors.get(name)?.dtype) {
		case "F64":
			return [...Float32Array.from(new Float64Array(buffer))];
		case "F32":
			return [...new Float32Array(buffer)];
		case "F16":
			return [...new Float16Array(buffer)];
		case "BF16":
			return [...new Float32Array(Uint32Array.from(new Uint16Array(buffer), (bits) => bits << 16).buffer)];
		case "I64":
			return [...new BigInt64Array(buffer)].map(Number);
		case "I32":
			return [...new Int32Array(buffer)];
		default:
			return [...new Uint8Array(buffer)];
	}
}

async function expectSame(path: string, expectedPath: string): Promise<void> {
	await using source = await openPth(path);
	await using expected = await openSafetensors(expectedPath);
	expect([...source.tensors.keys()].sort()).toEqual([...expected.tensors.keys()].sort());
	for (const [name, { shape }] of expected.tensors) {
		expect(source.tensors.get(name)?.shape, name).toEqual(shape);
		expect(await widened(source, name), name).toEqual(await widened(expected, name));
	}
}

describe("samples saved by PyTorch", () => {
	it.each(["dtypes", "views", "nested_vae", "nested_trainer", "ordered_parameters"])(
		"%s.pth gives the recorded tensors",
		(name) => expectSame(reference(`pth-samples/${name}.pth`), reference(`pth-samples/${name}.expected.safetensors`)),
	);

	it("the checkpoint beside a reference set gives the tensors of its safetensors", () =>
		expectSame(reference("var-tiny/var.pth"), reference("var-tiny/weights.safetensors")));

	it("legacy_format.pth is refused with advice", async () => {
		const opened = openPth(reference("pth-samples/legacy_format.pth"));
		await expect(opened).rejects.toBeInstanceOf(ModelFormatError);
		await expect(opened).rejects.toThrow(
			/legacy_format\.pth is in the format from before PyTorch 1\.6.*torch\.save\(torch\.load/,
		);
	});

	it("types stay as they are, and another separator may join the names", async () => {
		await using source = await openPth(reference("pth-samples/nested_trainer.pth"), { separator: "/" });
		expect([...source.tensors.keys()][0]).toBe("trainer/var_wo_ddp/post_quant_conv.weight");
		await using dtypes = await openPth(reference("pth-samples/dtypes.pth"));
		expect([...dtypes.tensors].map(([, { dtype }]) => dtype)).toEqual([
			"F32",
			"F16",
			"BF16",
			"F64",
			"I64",
			"I32",
			"U8",
			"BOOL",
			"F32",
			"F32",
		]);
	});

	it("the state_dict is found in published layouts, and pieces come to the whole", async () => {
		const names = ["post_quant_conv.weight", "post_quant_conv.bias"];
		for (const file of ["nested_vae", "nested_trainer", "ordered_parameters"]) {
			await using source = await openCheckpoint(reference(`pth-samples/${file}.pth`));
			const found = stateDict(source, names);
			expect([...found.tensors.keys()]).toEqual(expect.arrayContaining(names));
			const whole = await found.read(names[0]);
			const parts = [];
			for await (const piece of pieces(found, names[0], 1000)) parts.push(piece);
			expect(parts.length).toBe(10);
			expect(new Uint8Array(Buffer.concat(parts))).toEqual(whole);
		}
		await using views = await openPth(reference("pth-samples/views.pth"));
		const whole = await views.read("transposed");
		expect(await views.read("transposed", 20, 64)).toEqual(whole.slice(20, 64));
	});

	it("an entry that changed on the way is refused by its CRC-32", async () => {
		const path = join(dir, "changed.pth");
		await cp(reference("pth-samples/views.pth"), path);
		const handle = await open(path, "r+");
		await handle.write(Uint8Array.of(0x55), 0, 1, 0x250);
		await handle.close();
		await using source = await openPth(path);
		await expect(source.read("whole")).rejects.toThrow(
			/changed\.pth is not a sound zip archive: entry views\/data\/0 is damaged/,
		);
	});
});

const four = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer);
const archive = (ops: Op[], extra: Record<string, Uint8Array> = {}) =>
	zipBytes({ "a/data.pkl": pickle(ops), "a/data/0": four, ...extra });
const dict = (...items: Op[]): Op[] => ["dict", "mark", ...items, "setitems"];

describe("made-up files", () => {
	it("newer types, state of a state_dict and settings beside it are read", async () => {
		const float8 = tensorOps({
			dtype: "storage.UntypedStorage",
			count: 16,
			shape: [2, 3],
			strides: [3, 1],
			offset: 2,
			as: "float8_e4m3fn",
		});
		const ordered: Op[] = [["global", "collections OrderedDict"], "()", "reduce"];
		const path = await write(
			archive([
				...ordered,
				"mark",
				["text", "x"],
				...float8,
				"setitems",
				...dict(["text", "_metadata"], "none"),
				"build",
			]),
		);
		const settings: Op[] = [
			["text", "dtype"],
			["global", "torch bfloat16"],
			["text", "device"],
			["global", "torch device"],
			["text", "cuda"],
			["int", 0],
			"tuple2",
			"reduce",
		];
		await using beside = await openPth(await write(archive(dict(...settings, ["text", "y"], ...tensorOps({})))));
		expect([...beside.tensors.keys()]).toEqual(["y"]);
		await using source = await openPth(path);
		expect(source.tensors.get("x")).toEqual({ dtype: "F8_E4M3", shape: [2, 3], bytes: 6 });
		expect(await source.read("x")).toEqual(four.slice(2, 8));
	});

	it("archives of more than 4 GiB are read by their zip64 fields", async () => {
		const path = await write(new Uint8Array(0));
		const big = 5 * 2 ** 30;
		const head = tensorOps({ dtype: "ByteStorage", count: big, shape: [big] });
		const ops = dict(["text", "big"], ...head, ["text", "last"], ...tensorOps({ key: "1" }));
		const handle = await open(path, "r+");
		for (const { at, bytes } of hugeZip({ "a/data.pkl": pickle(ops), "a/data/0": big, "a/data/1": four }).parts)
			await handle.write(bytes, 0, bytes.length, at);
		await handle.close();
		await using source = await openPth(path);
		expect(source.tensors.get("big")?.bytes).toBe(big);
		expect(await source.read("big", big - 4)).toEqual(new Uint8Array(4));
		expect(await source.read("last")).toEqual(four);
	});

	it.each<[string, Uint8Array, RegExp]>([
		[
			"a forbidden function",
			archive([["global", "os system"], ["text", "true"], "tuple1", "reduce"]),
			/asks for "os\.system".* not allowed/,
		],
		["a forbidden opcode", archive([["bytes", 0x81]]), /opcode 0x81/],
		["a call of a type", archive([["global", "torch FloatStorage"], "()", "reduce"]), /calls what is no function/],
		[
			"a storage that is not there",
			archive(dict(["text", "x"], ...tensorOps({ key: "1" }))),
			/storage "1" is not in the archive/,
		],
		[
			"a storage of another size",
			archive(dict(["text", "x"], ...tensorOps({ count: 5 }))),
			/storage 0 of 5 F32 has 16 bytes/,
		],
		[
			"a view past its storage",
			archive(dict(["text", "x"], ...tensorOps({ shape: [5] }))),
			/leaves its storage of 4 elements/,
		],
		[
			"a view that overflows",
			archive(dict(["text", "x"], ...tensorOps({ shape: [2 ** 30, 2 ** 30], strides: [0, 0] }))),
			/stands where a size is needed/,
		],
		[
			"a tensor expanded beyond reason",
			archive(dict(["text", "x"], ...tensorOps({ shape: [2 ** 28], strides: [0] }))),
			/its tensors come to 1073741824 bytes/,
		],
		[
			"a dictionary in itself",
			archive(["dict", ["put", 0], "mark", ["text", "x"], ["get", 0], "setitems"]),
			/nested deeper than 32/,
		],
		["a key twice", archive(dict(["text", "x"], "none", ["text", "x"], "none")), /the key "x" twice/],
		[
			"names that meet",
			archive(dict(["text", "x.y"], ...tensorOps({}), ["text", "x"], ...dict(["text", "y"], ...tensorOps({})))),
			/two tensors come to the name x\.y/,
		],
		["two pickles", zipBytes({ "a/data.pkl": pickle(["none"]), "b/data.pkl": pickle(["none"]) }), /2 data\.pkl/],
		["big-endian numbers", archive(dict(), { "a/byteorder": new TextEncoder().encode("big") }), /not little-endian/],
		["a cut archive", archive(dict()).slice(0, -1), /no end record, as if it were cut/],
	])("%s is refused", async (_, bytes, message) => {
		const path = await write(bytes);
		const opened = openPth(path);
		await expect(opened).rejects.toBeInstanceOf(ModelFormatError);
		await expect(opened).rejects.toThrow(message);
		await expect(opened).rejects.toThrow(path);
	});

	it("openCheckpoint knows what is no checkpoint at all", async () => {
		await expect(
			openCheckpoint(await write(new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\n"))),
		).rejects.toThrow(/Git LFS pointer/);
		await expect(openCheckpoint(await write(new TextEncoder().encode("<!doctype html>")))).rejects.toThrow(/web page/);
		await expect(openCheckpoint(join(dir, "none"))).rejects.toThrow(/Cannot open/);
		await expect(openCheckpoint(dir)).rejects.toThrow(/Name the one to read/);
	});
});
