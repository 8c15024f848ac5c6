/** Strict safetensors reader: the header at once, the tensors one by one from the file handle. */
import type { FileHandle } from "node:fs/promises";
import { z } from "zod";
import { openFile, readExactly } from "./files.ts";
import { ModelFormatError } from "./manifest.ts";

/** The official library's own limit. */
const MAX_HEADER_BYTES = 100_000_000;

const ELEMENT_BYTES: Record<string, number> = {
	F64: 8, I64: 8, U64: 8, F32: 4, I32: 4, U32: 4, F16: 2, BF16: 2, I16: 2, U16: 2, F8_E4M3: 1, F8_E5M2: 1, I8: 1, U8: 1, BOOL: 1,
};

const Entry = z.strictObject({
	dtype: z.string(),
	shape: z.array(z.int().min(0)).max(16),
	data_offsets: z.tuple([z.int().min(0), z.int().min(0)]),
});
const Header = z.record(z.string(), z.unknown());

export interface SourceTensor {
	dtype: string;
	shape: number[];
	bytes: number;
}

/** Named tensors that can be read one at a time: a safetensors file, or several sources joined. */
export interface TensorSource {
	/** Named in errors. */
	label: string;
	tensors: ReadonlyMap<string, SourceTensor>;
	read(name: string): Promise<Uint8Array<ArrayBuffer>>;
}

export interface Safetensors extends TensorSource, AsyncDisposable {}

/** Opens and checks a file. Close it with `await using`. */
export async function openSafetensors(path: string): Promise<Safetensors> {
	const handle = await openFile(path);
	try {
		return await readHeader(handle, path);
	} catch (error) {
		await handle.close();
		throw error;
	}
}

async function readHeader(handle: FileHandle, path: string): Promise<Safetensors> {
	const fail = (what: string): never => {
		throw new ModelFormatError(`${path} is not a sound safetensors file: ${what}. Download or export it again.`);
	};
	const { size } = await handle.stat();
	if (size < 8) fail(`it has ${size} bytes, too few for the header's length`);
	const prefix = new Uint8Array(8);
	await readExactly(handle, prefix, 0, path);
	const declared = new DataView(prefix.buffer).getBigUint64(0, true);
	if (declared > BigInt(MAX_HEADER_BYTES)) fail(`its header claims ${declared} bytes, more than ${MAX_HEADER_BYTES}`);
	const headerBytes = Number(declared);
	const dataStart = 8 + headerBytes;
	if (dataStart > size) fail(`its header claims ${headerBytes} bytes and the file has ${size}`);

	const text = new Uint8Array(headerBytes);
	await readExactly(handle, text, 8, path);
	let json: unknown;
	try {
		json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(text));
	} catch (error) {
		fail(`its header is not JSON (${(error as Error).message})`);
	}
	const header = Header.safeParse(json);
	if (!header.success) return fail("its header is not an object");

	const placed: { name: string; tensor: SourceTensor; start: number; end: number }[] = [];
	for (const [name, value] of Object.entries(header.data)) {
		if (name === "__metadata__") continue;
		const entry = Entry.safeParse(value);
		if (!entry.success) return fail(`tensor ${name}: ${z.prettifyError(entry.error)}`);
		const { dtype, shape, data_offsets: [start, end] } = entry.data;
		const element = Object.hasOwn(ELEMENT_BYTES, dtype) ? ELEMENT_BYTES[dtype] : fail(`tensor ${name} has unknown type ${dtype}`);
		const bytes = shape.reduce((product, side) => product * BigInt(side), BigInt(element));
		if (bytes !== BigInt(end) - BigInt(start)) fail(`tensor ${name}: ${dtype} [${shape}] is ${bytes} bytes, its offsets span ${end - start}`);
		placed.push({ name, tensor: { dtype, shape, bytes: end - start }, start, end });
	}
	placed.sort((a, b) => a.start - b.start || a.end - b.end);
	let next = 0;
	for (const { name, start, end } of placed) {
		if (start !== next) fail(`tensor ${name} starts at ${start}, the data before it ends at ${next}`);
		next = end;
	}
	if (dataStart + next !== size) fail(`its tensors end at byte ${dataStart + next}, the file at ${size}`);

	const starts = new Map(placed.map(({ name, start }) => [name, dataStart + start]));
	const tensors = new Map(placed.map(({ name, tensor }) => [name, tensor]));
	return {
		label: path,
		tensors,
		async read(name) {
			const tensor = tensors.get(name);
			if (!tensor) throw new ModelFormatError(`${path} has no tensor ${name}.`);
			const bytes = new Uint8Array(tensor.bytes);
			await readExactly(handle, bytes, starts.get(name) as number, path);
			return bytes;
		},
		[Symbol.asyncDispose]: () => handle.close(),
	};
}
