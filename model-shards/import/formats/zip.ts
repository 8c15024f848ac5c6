/**
 * The zip archives that `torch.save` writes: entries stored as they are, one after the other, zip64 where they are
 * large. The central directory is read at once, the entries by offset. Nothing is inflated, so an archive holds no more
 * than its size.
 */
import type { FileHandle } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { ModelFormatError } from "../../format/errors.ts";
import { readExactly } from "../../format/source/files.ts";
import { clip, MAX_TENSORS } from "./tensor-source.ts";

const END = 0x06054b50;
const END_BYTES = 22;
const END64 = 0x06064b50;
const END64_BYTES = 56;
const LOCATOR64 = 0x07064b50;
const LOCATOR64_BYTES = 20;
const CENTRAL = 0x02014b50;
const CENTRAL_BYTES = 46;
const LOCAL = 0x04034b50;
const LOCAL_BYTES = 30;
const MAX_COMMENT_BYTES = 0xffff;
const MAX_DIRECTORY_BYTES = 16 * 2 ** 20;

interface Entry {
	name: string;
	bytes: number;
	crc32: number;
	/** Where its local header begins, and where the next thing does. */
	header: number;
	limit: number;
	/** Where its bytes begin, once the local header was read. */
	start?: number;
}

export interface StoredZip {
	/** Sizes by name. */
	entries: ReadonlyMap<string, number>;
	/** Fills `into` from byte `from` of the entry. Throws when an entry read from end to end does not have its CRC-32. */
	read(name: string, from: number, into: Uint8Array): Promise<void>;
}

/** Reads the directory of a file of `size` bytes. `path` stands in errors. */
export async function readZip(handle: FileHandle, size: number, path: string): Promise<StoredZip> {
	const fail: Fail = (what) => {
		throw new ModelFormatError(`${path} is not a sound zip archive: ${clip(what)}. Download or export it again.`);
	};
	const at: At = async (position, bytes) => {
		if (position < 0 || position + bytes > size)
			fail(`bytes ${position} to ${position + bytes} were expected and it has ${size}`);
		const buffer = new Uint8Array(bytes);
		await readExactly(handle, buffer, position, path);
		return new DataView(buffer.buffer);
	};

	const directory = await findDirectory(size, at, fail);
	if (directory.bytes > MAX_DIRECTORY_BYTES)
		fail(`its directory claims ${directory.bytes} bytes, more than ${MAX_DIRECTORY_BYTES}`);
	if (directory.count > MAX_TENSORS) fail(`its directory claims ${directory.count} entries, more than ${MAX_TENSORS}`);
	const entries = readDirectory(await at(directory.start, directory.bytes), directory.count, fail);
	placeEntries([...entries.values()], directory.start, fail);

	const startOf = async (entry: Entry): Promise<number> => {
		if (entry.start !== undefined) return entry.start;
		const local = await at(entry.header, LOCAL_BYTES);
		if (local.getUint32(0, true) !== LOCAL) fail(`entry ${entry.name} does not begin with a header`);
		const nameBytes = local.getUint16(26, true);
		const name = decodeName(new Uint8Array((await at(entry.header + LOCAL_BYTES, nameBytes)).buffer), fail);
		if (name !== entry.name) fail(`entry ${entry.name} is called ${name} where it lies`);
		if (local.getUint16(8, true) !== 0) fail(`entry ${entry.name} is compressed where it lies`);
		const start = entry.header + LOCAL_BYTES + nameBytes + local.getUint16(28, true);
		if (start + entry.bytes > entry.limit)
			fail(`entry ${entry.name} of ${entry.bytes} bytes reaches into what follows it`);
		return (entry.start = start);
	};

	let running: { entry: Entry; next: number; crc: number } | null = null;
	return {
		entries: new Map([...entries].map(([name, { bytes }]) => [name, bytes])),
		async read(name, from, into) {
			const entry = entries.get(name) ?? fail(`it has no entry ${name}`);
			if (from < 0 || from + into.byteLength > entry.bytes)
				throw new RangeError(
					`Bytes ${from} to ${from + into.byteLength} of ${name} were asked for; it has ${entry.bytes}.`,
				);
			await readExactly(handle, into, (await startOf(entry)) + from, path);
			if (from === 0) running = { entry, next: 0, crc: 0 };
			if (running?.entry !== entry || running.next !== from) return;
			running.crc = crc32(into, running.crc);
			running.next += into.byteLength;
			// A writer that was told not to compute it leaves 0.
			if (running.next === entry.bytes && entry.crc32 !== 0 && running.crc !== entry.crc32)
				fail(`entry ${name} is damaged, its CRC-32 is not the directory's`);
		},
	};
}

type Fail = (what: string) => never;
type At = (position: number, bytes: number) => Promise<DataView<ArrayBuffer>>;

async function findDirectory(
	size: number,
	at: At,
	fail: Fail,
): Promise<{ start: number; bytes: number; count: number }> {
	const tailBytes = Math.min(size, END_BYTES + MAX_COMMENT_BYTES);
	const tail = await at(size - tailBytes, tailBytes);
	let end = tailBytes - END_BYTES;
	while (
		end >= 0 &&
		!(tail.getUint32(end, true) === END && tail.getUint16(end + 20, true) === tailBytes - end - END_BYTES)
	)
		end--;
	if (end < 0) fail("it has no end record, as if it were cut");
	const endAt = size - tailBytes + end;
	let [disk, startDisk, here, count] = [4, 6, 8, 10].map((field) => tail.getUint16(end + field, true));
	let bytes = tail.getUint32(end + 12, true);
	let start = tail.getUint32(end + 16, true);
	let endsAt = endAt;
	if ([disk, startDisk, here, count].includes(0xffff) || bytes === 0xffffffff || start === 0xffffffff) {
		const locator = await at(endAt - LOCATOR64_BYTES, LOCATOR64_BYTES);
		if (locator.getUint32(0, true) !== LOCATOR64) fail("it lacks the zip64 locator its end record asks for");
		endsAt = whole(locator, 8, fail);
		const end64 = await at(endsAt, END64_BYTES);
		if (end64.getUint32(0, true) !== END64) fail("its zip64 end record is not where the locator says");
		disk = end64.getUint32(16, true);
		startDisk = end64.getUint32(20, true);
		here = whole(end64, 24, fail);
		count = whole(end64, 32, fail);
		bytes = whole(end64, 40, fail);
		start = whole(end64, 48, fail);
	}
	if (disk !== 0 || startDisk !== 0 || here !== count) fail("it is one part of several");
	if (start + bytes > endsAt) fail(`its directory of ${bytes} bytes at ${start} reaches into the end record`);
	return { start, bytes, count };
}

function readDirectory(view: DataView<ArrayBuffer>, count: number, fail: Fail): Map<string, Entry> {
	const entries = new Map<string, Entry>();
	let at = 0;
	for (let i = 0; i < count; i++) {
		if (at + CENTRAL_BYTES > view.byteLength || view.getUint32(at, true) !== CENTRAL)
			fail(`entry ${i} of ${count} is missing from its directory`);
		const nameBytes = view.getUint16(at + 28, true);
		const extraBytes = view.getUint16(at + 30, true);
		const next = at + CENTRAL_BYTES + nameBytes + extraBytes + view.getUint16(at + 32, true);
		if (next > view.byteLength) fail(`entry ${i} of ${count} reaches past its directory`);
		const name = decodeName(new Uint8Array(view.buffer, at + CENTRAL_BYTES, nameBytes), fail);
		if (entries.has(name)) fail(`entry ${name} stands twice`);
		if (view.getUint16(at + 8, true) & 1) fail(`entry ${name} is encrypted`);
		if (view.getUint16(at + 10, true) !== 0) fail(`entry ${name} is compressed, which torch.save never does`);
		const extra = new DataView(view.buffer, at + CENTRAL_BYTES + nameBytes, extraBytes);
		const [bytes, packed, header] = sizes(view, at, extra, fail);
		if (bytes !== packed) fail(`entry ${name} claims ${bytes} bytes stored as ${packed}`);
		entries.set(name, { name, bytes, crc32: view.getUint32(at + 16, true), header, limit: 0 });
		at = next;
	}
	if (at !== view.byteLength) fail("its directory is longer than its entries");
	return entries;
}

/** Size, stored size and header position, from the zip64 field where the 32-bit ones are full. */
function sizes(view: DataView, at: number, extra: DataView, fail: Fail): [number, number, number] {
	const fields = [24, 20, 42].map((offset) => view.getUint32(at + offset, true));
	if (!fields.includes(0xffffffff)) return fields as [number, number, number];
	let field = 0;
	while (field + 4 <= extra.byteLength && extra.getUint16(field, true) !== 1)
		field += 4 + extra.getUint16(field + 2, true);
	const end = field + 4 <= extra.byteLength ? field + 4 + extra.getUint16(field + 2, true) : 0;
	field += 4;
	return fields.map((value) => {
		if (value !== 0xffffffff) return value;
		if (field + 8 > end || end > extra.byteLength) fail("an entry lacks the zip64 sizes it asks for");
		field += 8;
		return whole(extra, field - 8, fail);
	}) as [number, number, number];
}

/**
 * Entries must lie one after the other before the directory: two that share bytes are how a small file claims to be a
 * large one.
 */
function placeEntries(entries: Entry[], directoryStart: number, fail: Fail): void {
	entries.sort((a, b) => a.header - b.header);
	for (const [i, entry] of entries.entries()) {
		entry.limit = entries[i + 1]?.header ?? directoryStart;
		if (entry.header + LOCAL_BYTES + entry.bytes > entry.limit)
			fail(`entry ${entry.name} of ${entry.bytes} bytes at ${entry.header} reaches into what follows it`);
	}
}

function whole(view: DataView, offset: number, fail: Fail): number {
	const value = view.getBigUint64(offset, true);
	return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : fail(`it claims ${value} bytes`);
}

function decodeName(bytes: Uint8Array<ArrayBuffer>, fail: Fail): string {
	try {
		return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
	} catch {
		return fail("an entry's name is not UTF-8");
	}
}
