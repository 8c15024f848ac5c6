/** Strict safetensors reader: the header at once, the tensors piece by piece from the file handle. */
import type { FileHandle } from "node:fs/promises";
import { z } from "zod";
import { ModelFormatError } from "../../format/errors.ts";
import { openFile, readExactly } from "../../format/source/files.ts";
import { jsonProblem } from "./json.ts";
import {
	clip,
	ELEMENT_BYTES,
	MAX_DIMENSIONS,
	MAX_TENSORS,
	type OpenTensorSource,
	rangeOf,
	type SourceTensor,
} from "./tensor-source.ts";

/** Room for `MAX_TENSORS`; the official library would take 100 MB, which no checkpoint needs. */
const MAX_HEADER_BYTES = 16 * 2 ** 20;

const Entry = z.strictObject({
	dtype: z.string(),
	shape: z.array(z.int().min(0)).max(MAX_DIMENSIONS),
	data_offsets: z.tuple([z.int().min(0), z.int().min(0)]),
});
const Header = z.record(z.string(), z.unknown());
const Metadata = z.record(z.string(), z.string());

export type Safetensors = OpenTensorSource;

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
		throw new ModelFormatError(`${path} is not a sound safetensors file: ${clip(what)}. Download or export it again.`);
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
		const header = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(text);
		const problem = jsonProblem(header, { maxDepth: 3, maxKeys: 4 * MAX_TENSORS });
		if (problem) fail(`its header ${problem}`);
		json = JSON.parse(header);
	} catch (error) {
		if (error instanceof ModelFormatError) throw error;
		fail(`its header is not JSON (${(error as Error).message})`);
	}
	const header = Header.safeParse(json);
	if (!header.success) return fail("its header is not an object");

	const placed: { name: string; tensor: SourceTensor; start: number; end: number }[] = [];
	for (const [name, value] of Object.entries(header.data)) {
		if (name === "__metadata__") {
			if (!Metadata.safeParse(value).success) fail("its __metadata__ is not text by name");
			continue;
		}
		const entry = Entry.safeParse(value);
		if (!entry.success) return fail(`tensor ${name}: ${z.prettifyError(entry.error)}`);
		const {
			dtype,
			shape,
			data_offsets: [start, end],
		} = entry.data;
		const element = Object.hasOwn(ELEMENT_BYTES, dtype)
			? ELEMENT_BYTES[dtype]
			: fail(`tensor ${name} has unknown type ${dtype}`);
		const bytes = shape.reduce((product, side) => product * BigInt(side), BigInt(element));
		if (bytes !== BigInt(end) - BigInt(start))
			fail(`tensor ${name}: ${dtype} [${shape}] is ${bytes} bytes, its offsets span ${end - start}`);
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
	const source: Safetensors = {
		label: path,
		tensors,
		async read(name, start, end) {
			const { from, to } = rangeOf(source, name, start, end);
			const bytes = new Uint8Array(to - from);
			await readExactly(handle, bytes, (starts.get(name) as number) + from, path);
			return bytes;
		},
		[Symbol.asyncDispose]: () => handle.close(),
	};
	return source;
}
