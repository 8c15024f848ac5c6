/** Small made-up `.pth` files for tests: a pickle from its operations, and a stored zip archive. */
import { crc32 } from "node:zlib";

/** One pickle operation, by a readable name. */
export type Op =
	| "mark"
	| "dict"
	| "list"
	| "()"
	| "tuple"
	| "tuple1"
	| "tuple2"
	| "none"
	| "true"
	| "false"
	| "reduce"
	| "persid"
	| "setitem"
	| "setitems"
	| "append"
	| "appends"
	| "build"
	| "memoize"
	| ["text" | "global", string]
	| ["int" | "put" | "get" | "proto", number]
	| ["long", bigint]
	| ["bytes", ...number[]]
	| ["repeat", opcode: number, count: number];

const PLAIN: Record<string, number> = {
	mark: 0x28,
	dict: 0x7d,
	list: 0x5d,
	"()": 0x29,
	tuple: 0x74,
	tuple1: 0x85,
	tuple2: 0x86,
	none: 0x4e,
	true: 0x88,
	false: 0x89,
	reduce: 0x52,
	persid: 0x51,
	setitem: 0x73,
	setitems: 0x75,
	append: 0x61,
	appends: 0x65,
	build: 0x62,
	memoize: 0x94,
};

/** Protocol 2, the operations, the end. */
export function pickle(ops: readonly Op[]): Uint8Array<ArrayBuffer> {
	const parts = [[0x80, 2], ...ops.map(encode), [0x2e]].map((part) => Uint8Array.from(part));
	return new Uint8Array(Buffer.concat(parts));
}

function encode(op: Op): number[] | Uint8Array {
	if (typeof op === "string") return [PLAIN[op]];
	const [kind, value] = op;
	switch (kind) {
		case "text": {
			const text = new TextEncoder().encode(value as string);
			return Buffer.concat([Uint8Array.from([0x58, ...u32(text.length)]), text]);
		}
		case "global":
			return [0x63, ...new TextEncoder().encode(`${(value as string).replace(" ", "\n")}\n`)];
		case "int":
			return [0x4a, ...u32(value as number)];
		case "put":
			return [0x72, ...u32(value as number)];
		case "get":
			return [0x6a, ...u32(value as number)];
		case "proto":
			return [0x80, value as number];
		case "long":
			return [
				0x8a,
				8,
				...Array.from({ length: 8 }, (_, i) => Number((BigInt.asUintN(64, value as bigint) >> BigInt(8 * i)) & 255n)),
			];
		case "bytes":
			return op.slice(1) as number[];
		case "repeat":
			return new Uint8Array(op[2]).fill(op[1]);
	}
}

const u32 = (value: number): number[] => [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24];
const u16 = (value: number): number[] => [value & 255, (value >>> 8) & 255];
const u64 = (value: number): number[] => [...u32(value % 2 ** 32), ...u32(Math.floor(value / 2 ** 32))];

export interface TensorSpec {
	dtype?: string;
	key?: string;
	count?: number;
	offset?: number;
	shape?: number[];
	strides?: number[];
	/** A type name of torch: rebuilt by `_rebuild_tensor_v3` from untyped bytes. */
	as?: string;
}

/** What torch.save writes for a tensor; all of it may be wrong. */
export function tensorOps({
	dtype = "FloatStorage",
	key = "0",
	count = 4,
	offset = 0,
	shape = [4],
	strides = [1],
	as,
}: TensorSpec): Op[] {
	const whole = (value: number): Op => (value < 2 ** 31 ? ["int", value] : ["long", BigInt(value)]);
	const sizes = (values: number[]): Op[] => ["mark", ...values.map(whole), "tuple"];
	const type = dtype.includes(".") ? dtype.replace(/^(.*)\.(.*)$/, "torch.$1 $2") : `torch ${dtype}`;
	return [
		["global", `torch._utils _rebuild_tensor_${as ? "v3" : "v2"}`],
		"mark",
		"mark",
		["text", "storage"],
		["global", type],
		["text", key],
		["text", "cpu"],
		whole(count),
		"tuple",
		"persid",
		whole(offset),
		...sizes(shape),
		...sizes(strides),
		"false",
		["global", "collections OrderedDict"],
		"()",
		"reduce",
		...(as ? [["global", `torch ${as}`] as Op] : []),
		"tuple",
		"reduce",
	];
}

/** The fields of an entry in the central directory. */
export interface ZipFields {
	method: number;
	flags: number;
	crc: number;
	stored: number;
	bytes: number;
	header: number;
}

export interface ZipEdit {
	/** Changes what the directory says of an entry. */
	edit?: (name: string, fields: ZipFields) => void;
	/** Sizes and offsets in zip64 fields, as for files above 4 GiB. */
	zip64?: boolean;
	comment?: Uint8Array;
}

/** A zip archive with every entry stored. */
export function zipBytes(entries: Record<string, Uint8Array>, edit: ZipEdit = {}): Uint8Array<ArrayBuffer> {
	const { parts } = zipParts(entries, edit);
	const last = parts[parts.length - 1];
	const file = new Uint8Array(last.at + last.bytes.length);
	for (const { at, bytes } of parts) file.set(bytes, at);
	return file;
}

/**
 * The same with zip64 fields, as pieces to write. An entry given as a number is a hole of so many bytes, without a
 * CRC-32.
 */
export const hugeZip = (entries: Record<string, Uint8Array | number>, edit?: ZipEdit["edit"]) =>
	zipParts(entries, { edit, zip64: true });

function zipParts(
	entries: Record<string, Uint8Array | number>,
	{ edit, zip64 = false, comment = new Uint8Array(0) }: ZipEdit,
): { parts: { at: number; bytes: Uint8Array }[]; holes: Map<string, number> } {
	const parts: { at: number; bytes: Uint8Array }[] = [];
	const holes = new Map<string, number>();
	const directory: number[] = [];
	const size = (value: number) => u32(zip64 ? 0xffffffff : value);
	let at = 0;
	const put = (bytes: Uint8Array | number[]): void => {
		parts.push({ at, bytes: Uint8Array.from(bytes) });
		at += bytes.length;
	};
	for (const [name, content] of Object.entries(entries)) {
		const bytes = typeof content === "number" ? content : content.length;
		const fields: ZipFields = {
			method: 0,
			flags: 0x800,
			crc: typeof content === "number" ? 0 : crc32(content),
			stored: bytes,
			bytes,
			header: at,
		};
		const text = [...new TextEncoder().encode(name)];
		put([
			...u32(0x04034b50),
			...u16(20),
			...u16(0x800),
			...u16(0),
			...u32(0),
			...u32(fields.crc),
			...size(bytes),
			...size(bytes),
			...u16(text.length),
			...u16(0),
			...text,
		]);
		if (typeof content === "number") {
			holes.set(name, at);
			at += content;
		} else put(content);
		edit?.(name, fields);
		const extra = zip64
			? [...u16(1), ...u16(24), ...u64(fields.bytes), ...u64(fields.stored), ...u64(fields.header)]
			: [];
		directory.push(
			...u32(0x02014b50),
			...u16(20),
			...u16(20),
			...u16(fields.flags),
			...u16(fields.method),
			...u32(0),
			...u32(fields.crc),
			...size(fields.stored),
			...size(fields.bytes),
			...u16(text.length),
			...u16(extra.length),
			...u16(0),
			...u16(0),
			...u16(0),
			...u32(0),
			...size(fields.header),
			...text,
			...extra,
		);
	}
	const [start, count] = [at, Object.keys(entries).length];
	put(directory);
	if (zip64) {
		const end = at;
		put([
			...u32(0x06064b50),
			...u64(44),
			...u16(45),
			...u16(45),
			...u32(0),
			...u32(0),
			...u64(count),
			...u64(count),
			...u64(directory.length),
			...u64(start),
		]);
		put([...u32(0x07064b50), ...u32(0), ...u64(end), ...u32(1)]);
	}
	const full = zip64 ? 0xffff : count;
	put([
		...u32(0x06054b50),
		...u16(0),
		...u16(0),
		...u16(full),
		...u16(full),
		...size(directory.length),
		...size(start),
		...u16(comment.length),
		...comment,
	]);
	return { parts, holes };
}
