/** Hostile `.pth` files: made-up pickles and archives, and sound ones changed blindly. */
import { type Op, pickle, type TensorSpec, tensorOps, type ZipFields, zipBytes } from "../testing-pth.ts";
import { blind, type Hostile, Random } from "./random.ts";

const four = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer);
const archive = (bytes: Uint8Array) => zipBytes({ "a/data.pkl": bytes, "a/data/0": four });
const dict = (...items: Op[]): Op[] => ["dict", "mark", ...items, "setitems"];
const raw = (...bytes: number[]): Op => ["bytes", ...bytes];
const tensor = (spec: TensorSpec): Op[] => dict(["text", "x"], ...tensorOps(spec));

/** `count` files that must be refused or harmless, made from the sound files of `seeds` by name. */
export function* hostilePth(seeds: Record<string, Uint8Array>, count: number): Generator<Hostile> {
	const random = new Random(11);
	const fixed = [...pickles(), ...archives()];
	yield* fixed;
	const names = Object.keys(seeds);
	for (const [i, name] of names.entries()) {
		const share =
			Math.floor((count - fixed.length) / names.length) + (i < (count - fixed.length) % names.length ? 1 : 0);
		yield* blind(random, name, seeds[name], share);
	}
}

/** Pickles changed blindly in an archive that is sound again, CRC-32 and all. */
export function* changedPickles(
	pickles: Record<string, Uint8Array>,
	storages: Record<string, Record<string, Uint8Array>>,
	count: number,
): Generator<Hostile> {
	const random = new Random(13);
	for (const name of Object.keys(pickles)) {
		for (const { name: what, bytes } of blind(random, name, pickles[name], count)) {
			yield {
				name: `pickle of ${what}`,
				bytes: zipBytes({ "a/data.pkl": bytes, ...storages[name] }),
				expect: "contained",
			};
		}
	}
}

function* pickles(): Generator<Hostile> {
	const cases: Record<string, Op[]> = {};
	for (const name of [
		"os system",
		"posix system",
		"builtins eval",
		"builtins exec",
		"__builtin__ getattr",
		"subprocess Popen",
		"torch load",
		"numpy.core.multiarray _reconstruct",
		"_codecs encode",
		"torch._utils _rebuild_sparse_tensor",
		"collections OrderedDict.update",
	]) {
		cases[`calls ${name}`] = [["global", name], ["text", "touch owned"], "tuple1", "reduce"];
	}
	Object.assign(cases, {
		"names os.system on the stack": [["text", "os"], ["text", "system"], raw(0x93)],
		"names a method of a map": [["text", "collections"], ["text", "OrderedDict.constructor"], raw(0x93)],
		INST: [raw(0x28, 0x69, ...Buffer.from("os\nsystem\n"))],
		OBJ: [raw(0x28, 0x6f)],
		NEWOBJ: [["global", "collections OrderedDict"], "()", raw(0x81)],
		NEWOBJ_EX: [["global", "collections OrderedDict"], "()", "dict", raw(0x92)],
		EXT1: [raw(0x82, 1)],
		EXT4: [raw(0x84, 1, 0, 0, 0)],
		PERSID: [raw(0x50, ...Buffer.from("storage\n"))],
		DUP: ["none", raw(0x32)],
		STRING: [raw(0x53, ...Buffer.from("'x'\n"))],
		BYTEARRAY8: [raw(0x96, 0, 0, 0, 0, 0, 1, 0, 0)],
		NEXT_BUFFER: [raw(0x97)],
		"calls a storage type": [["global", "torch FloatStorage"], "()", "reduce"],
		"calls text": [["text", "x"], "()", "reduce"],
		"calls a dictionary": ["dict", "()", "reduce"],
		"calls with a list": [["global", "collections OrderedDict"], "list", "reduce"],
		"an OrderedDict of itself": [["global", "collections OrderedDict"], "dict", "tuple1", "reduce"],
		"a tensor of nothing": [["global", "torch._utils _rebuild_tensor_v2"], "()", "reduce"],
		"a tensor of a dictionary": [["global", "torch._utils _rebuild_tensor_v2"], "dict", "tuple1", "reduce"],
		"a parameter of a number": [["global", "torch._utils _rebuild_parameter"], ["int", 1], "tuple1", "reduce"],
		"state for a tensor": [...tensorOps({}), "dict", "build"],
		"state that is no dictionary": ["dict", "none", "build"],
		"an id of text": [["text", "storage"], "persid"],
		"an id of nothing": ["()", "persid"],
		"an id of a module": [["text", "module"], "none", "tuple2", "persid"],
		"an id with a path": tensor({ key: "../../../etc/passwd" }),
		"an id that is not there": tensor({ key: "9" }),
		"a negative count": tensor({ count: -4 }),
		"a count beyond every number": tensor({ count: 2 ** 63 }),
		"a count that wraps": tensor({ count: 2 ** 62 + 4 }),
		"another count": tensor({ count: 3 }),
		"an unknown storage": tensor({ dtype: "QUInt8Storage" }),
		"a shape that overflows": tensor({ shape: [2 ** 31, 2 ** 31, 2 ** 31], strides: [0, 0, 0] }),
		"a negative side": tensor({ shape: [-1] }),
		"a negative stride": tensor({ strides: [-1], offset: 3 }),
		"strides beyond": tensor({ shape: [2, 2], strides: [4, 1] }),
		"strides that overflow": tensor({ shape: [2], strides: [2 ** 60] }),
		"an offset beyond": tensor({ offset: 4, shape: [1] }),
		"a negative offset": tensor({ offset: -1 }),
		"more sides than strides": tensor({ shape: [1, 4] }),
		"17 sides": tensor({ shape: Array(17).fill(1), strides: Array(17).fill(1) }),
		"a terabyte from 16 bytes": tensor({ shape: [2 ** 38], strides: [0] }),
		"views that add up": dict(
			...Array.from({ length: 4000 }, (_, i) => [
				["text", `${i}`] as Op,
				...tensorOps({ shape: [5000], strides: [0] }),
			]).flat(),
		),
		"names of 500 kB each": dict(
			["text", "n".repeat(500_000)],
			...dict(...Array.from({ length: 300 }, (_, i) => [["text", `${i}`] as Op, ...tensorOps({})]).flat()),
		),
		"a number of 255 bytes": [raw(0x8a, 255, ...Array(255).fill(1))],
		LONG4: [raw(0x8b, 255, 255, 255, 127)],
		"text of 2 GiB": [raw(0x58, 255, 255, 255, 127)],
		"text of 2 MiB": [["text", "x".repeat(2 ** 21)]],
		BINUNICODE8: [raw(0x8d, 0, 0, 0, 0, 0, 1, 0, 0)],
		BINBYTES8: [raw(0x8e, 0, 0, 0, 0, 0, 1, 0, 0)],
		"text that is no UTF-8": [raw(0x58, 2, 0, 0, 0, 0xff, 0xfe)],
		"recalls what was not": [["get", 5]],
		"remembers nothing": [raw(0x71, 0)],
		"a frame of everything": [raw(0x95, ...Array(8).fill(255))],
		"takes from nothing": ["reduce"],
		"closes what is not open": ["tuple"],
		"reaches under a mark": ["dict", "mark", "tuple1"],
		"a key without value": dict(["text", "x"]),
		"a key twice": dict(["text", "x"], "none", ["text", "x"], "none"),
		"a dictionary as key": dict("dict", "none"),
		"items of text": [["text", "x"], "mark", "setitems"],
		"appends to a dictionary": ["dict", "none", "append"],
		"protocol 1": [["proto", 1]],
		"a late protocol": ["none", ["proto", 2]],
		"two objects": ["none", "none"],
		"an open mark": ["none", "mark"],
		"an end before the end": ["none", raw(0x2e)],
		"a dictionary in itself": ["dict", ["put", 0], "mark", ["text", "x"], ["get", 0], "setitems"],
		"a list in itself": ["list", ["put", 0], ["get", 0], "append"],
		"laughs a billion times": [
			"dict",
			["put", 0],
			...Array.from({ length: 31 }, (_, i) => [
				...dict(["text", "a"], ["get", i], ["text", "b"], ["get", i]),
				["put", i + 1] as Op,
				raw(0x71, i + 1),
			]).flat(),
			...dict(["text", "all"], ["get", 31]),
		],
		"2,000,000 dictionaries": [["repeat", 0x7d, 2_000_000]],
		"5,000,000 marks": [["repeat", 0x28, 5_000_000]],
		"3,000,000 lists": [["repeat", 0x5d, 3_000_000]],
		"remembers 3,000,000 times": ["none", ["repeat", 0x94, 3_000_000]],
		"tuples a million deep": ["none", ["repeat", 0x85, 1_000_001]],
		"dictionaries deep": [
			...Array(200)
				.fill(0)
				.flatMap((): Op[] => ["dict", ["text", "k"]]),
			"none",
			...Array(200).fill("setitem"),
		],
	} satisfies Record<string, Op[]>);
	for (const [name, ops] of Object.entries(cases))
		yield { name: `pickle that ${name}`, bytes: archive(pickle(ops)), expect: "refused" };
	yield { name: "pickle of 17 MiB", bytes: archive(new Uint8Array(17 * 2 ** 20).fill(0x4e)), expect: "refused" };
	yield { name: "pickle without an end", bytes: archive(Uint8Array.of(0x80, 2)), expect: "refused" };
	yield { name: "pickle that is empty", bytes: archive(new Uint8Array(0)), expect: "refused" };
}

function* archives(): Generator<Hostile> {
	const sound = { "a/data.pkl": pickle(tensor({})), "a/data/0": four };
	const edits: Record<string, (fields: ZipFields) => void> = {
		deflated: (fields) => (fields.method = 8),
		bzipped: (fields) => (fields.method = 12),
		encrypted: (fields) => (fields.flags |= 1),
		"bomb of 4 GiB": (fields) => (fields.bytes = 0xfffffffe),
		"stored as more": (fields) => (fields.stored = fields.bytes = 2 ** 31),
		"at the same place": (fields) => (fields.header = 0),
		"behind the end": (fields) => (fields.header = 2 ** 31),
		"in the middle": (fields) => (fields.header += 7),
		"with another CRC-32": (fields) => (fields.crc ^= 1),
	};
	for (const [name, edit] of Object.entries(edits))
		yield {
			name: `archive ${name}`,
			bytes: zipBytes(sound, { edit: (entry, fields) => entry === "a/data/0" && edit(fields) }),
			expect: "refused",
		};
	for (const [name, edit] of [
		["of 2^53", (fields: ZipFields) => (fields.stored = fields.bytes = 2 ** 53)],
		["far away", (fields: ZipFields) => (fields.header = 2 ** 52)],
	] as const) {
		yield {
			name: `archive ${name} by zip64`,
			bytes: zipBytes(sound, { zip64: true, edit: (entry, fields) => entry === "a/data/0" && edit(fields) }),
			expect: "refused",
		};
	}
	yield {
		name: "archive with a false end in its comment",
		bytes: zipBytes(sound, { comment: Uint8Array.of(0x50, 0x4b, 5, 6, ...new Uint8Array(18)) }),
		expect: "refused",
	};
	yield {
		name: "archive of 120,000 entries",
		bytes: zipBytes(Object.fromEntries(Array.from({ length: 120_000 }, (_, i) => [`a/${i}`, new Uint8Array(0)])), {
			zip64: true,
		}),
		expect: "refused",
	};
	yield {
		name: "archive of two checkpoints",
		bytes: zipBytes({ ...sound, "b/data.pkl": pickle(["none"]) }),
		expect: "refused",
	};
	yield { name: "archive without a pickle", bytes: zipBytes({ "a/data/0": four }), expect: "refused" };
	yield {
		name: "archive of big-endian numbers",
		bytes: zipBytes({ ...sound, "a/byteorder": Buffer.from("big") }),
		expect: "refused",
	};
	yield { name: "archive that is empty", bytes: zipBytes({}), expect: "refused" };
	yield { name: "file that is empty", bytes: new Uint8Array(0), expect: "refused" };
	yield { name: "file of zeros", bytes: new Uint8Array(100_000), expect: "refused" };
}
