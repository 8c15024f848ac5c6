/**
 * PyTorch checkpoints: a zip of a pickle (`data.pkl`) and one entry a storage. The pickle is read as data through a
 * list of allowed names; tensors are views of storages, read piece by piece.
 */
import type { FileHandle } from "node:fs/promises";
import { ModelFormatError } from "../../format/errors.ts";
import { openFile, readExactly } from "../../format/source/files.ts";
import { Global, PickleError, Tuple, unpickle } from "./pickle.ts";
import {
	clip,
	ELEMENT_BYTES,
	MAX_DIMENSIONS,
	MAX_TENSORS,
	type OpenTensorSource,
	rangeOf,
	type SourceTensor,
} from "./tensor-source.ts";
import { readZip, type StoredZip } from "./zip.ts";

const MAX_PICKLE_BYTES = 16 * 2 ** 20;
const MAX_DEPTH = 32;
/** Of a name, joined. */
const MAX_NAME = 1024;
/** A tensor that is not contiguous is gathered from its storage in memory, up to this much of it. */
const MAX_GATHERED_BYTES = 2 ** 28;
/** Views may repeat what the file holds (tied weights, expanded tensors) so often, and a little more. */
const MAX_REPEATS = 8;
const FREE_BYTES = 2 ** 26;

const STORAGES: Readonly<Record<string, string>> = {
	DoubleStorage: "F64",
	FloatStorage: "F32",
	HalfStorage: "F16",
	BFloat16Storage: "BF16",
	LongStorage: "I64",
	IntStorage: "I32",
	ShortStorage: "I16",
	CharStorage: "I8",
	ByteStorage: "U8",
	BoolStorage: "BOOL",
	ComplexFloatStorage: "C64",
	ComplexDoubleStorage: "C128",
};
/** Types that have no storage class of their own: their storages are untyped bytes. */
const DTYPES: Readonly<Record<string, string>> = {
	uint16: "U16",
	uint32: "U32",
	uint64: "U64",
	float8_e4m3fn: "F8_E4M3",
	float8_e5m2: "F8_E5M2",
};

class StorageType extends Global {
	readonly dtype: string;
	constructor(dtype: string) {
		super();
		this.dtype = dtype;
	}
}

class Storage {
	readonly entry: string;
	readonly dtype: string;
	readonly elements: number;
	constructor(entry: string, dtype: string, elements: number) {
		this.entry = entry;
		this.dtype = dtype;
		this.elements = elements;
	}
}

class View {
	readonly storage: Storage;
	readonly dtype: string;
	/** In elements of `dtype`. */
	readonly offset: number;
	readonly shape: number[];
	readonly strides: number[];
	readonly elements: number;

	constructor(storage: unknown, offset: unknown, shape: unknown, strides: unknown, dtype?: string) {
		if (!(storage instanceof Storage)) throw new PickleError("a tensor is made of what is no storage");
		this.storage = storage;
		this.dtype = dtype ?? storage.dtype;
		this.offset = size(offset);
		this.shape = sizes(shape);
		this.strides = sizes(strides);
		if (this.shape.length !== this.strides.length || this.shape.length > MAX_DIMENSIONS) {
			throw new PickleError(
				`a tensor has ${this.shape.length} sides and ${this.strides.length} strides; at most ` +
					`${MAX_DIMENSIONS} of each are read`,
			);
		}
		this.elements = this.shape.reduce((product, side) => size(product * side), 1);
		const held = Math.floor((storage.elements * ELEMENT_BYTES[storage.dtype]) / ELEMENT_BYTES[this.dtype]);
		if (this.elements > 0 && this.offset + this.span > held)
			throw new PickleError(
				`a tensor [${this.shape}] with strides [${this.strides}] at ${this.offset} leaves its storage of ` +
					`${held} elements`,
			);
	}

	/** Elements of the storage from its first to its last, both included. */
	get span(): number {
		return this.elements === 0
			? 0
			: this.shape.reduce((reach, side, i) => size(reach + (side - 1) * this.strides[i]), 1);
	}

	get contiguous(): boolean {
		let expected = 1;
		for (let i = this.shape.length - 1; i >= 0; i--) {
			if (this.shape[i] !== 1 && this.strides[i] !== expected) return false;
			expected *= this.shape[i];
		}
		return true;
	}
}

function size(value: unknown): number {
	if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
		throw new PickleError(`${typeof value === "number" ? value : typeof value} stands where a size is needed`);
	return value;
}

function sizes(value: unknown): number[] {
	if (!(value instanceof Tuple)) throw new PickleError("a tensor's shape or strides are no tuple");
	return value.items.map(size);
}

const GLOBALS: ReadonlyMap<string, Global> = new Map<string, Global>([
	[
		"collections.OrderedDict",
		new Global(([...items]) => (items.length === 0 ? new Map() : refuse("an OrderedDict is made from arguments"))),
	],
	[
		"torch.Size",
		new Global(([items]) => (items instanceof Tuple ? items : refuse("a torch.Size is made from what is no tuple"))),
	],
	[
		"torch._utils._rebuild_tensor_v2",
		new Global(([storage, offset, shape, strides]) => new View(storage, offset, shape, strides)),
	],
	[
		"torch._utils._rebuild_tensor_v3",
		new Global(([storage, offset, shape, strides, , , dtype]) =>
			dtype instanceof StorageType
				? new View(storage, offset, shape, strides, dtype.dtype)
				: refuse("a tensor's type is no type"),
		),
	],
	[
		"torch._utils._rebuild_parameter",
		new Global(([tensor]) => (tensor instanceof View ? tensor : refuse("a parameter is made from what is no tensor"))),
	],
	...Object.entries(STORAGES).map(([name, dtype]): [string, Global] => [`torch.${name}`, new StorageType(dtype)]),
	...Object.entries(DTYPES).map(([name, dtype]): [string, Global] => [`torch.${name}`, new StorageType(dtype)]),
	["torch.storage.UntypedStorage", new StorageType("U8")],
	// Settings that stand beside the state_dict: passed over.
	["torch.device", new Global(() => null)],
	...["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"].map(
		(name): [string, Global] => [`torch.${name}`, new Global()],
	),
]);

function refuse(what: string): never {
	throw new PickleError(what);
}

export interface PthOptions {
	/** Joins the keys of nested dictionaries to a tensor's name. */
	separator?: string;
}

/**
 * Opens a checkpoint of PyTorch 1.6 or later. Names are the keys that lead to a tensor, joined. Close it with `await
 * using`.
 */
export async function openPth(path: string, { separator = "." }: PthOptions = {}): Promise<OpenTensorSource> {
	const handle = await openFile(path);
	try {
		const { size } = await handle.stat();
		await refuseOthers(handle, size, path);
		const zip = await readZip(handle, size, path);
		const views = await readPickle(zip, path, separator);
		return source(path, zip, views, () => handle.close());
	} catch (error) {
		await handle.close();
		if (error instanceof PickleError)
			throw new ModelFormatError(
				`${path} is not a checkpoint this importer reads: ${clip(error.message)}. If you trust where it came ` +
					"from, load it in PyTorch and save its state_dict alone.",
			);
		throw error;
	}
}

/** The first bytes of a pickle: before PyTorch 1.6 the file was nothing else. */
async function refuseOthers(handle: FileHandle, size: number, path: string): Promise<void> {
	const head = new Uint8Array(Math.min(size, 2));
	await readExactly(handle, head, 0, path);
	if (head[0] !== 0x80) return;
	throw new ModelFormatError(
		`${path} is in the format from before PyTorch 1.6, which cannot be read without executing it. If you ` +
			`trust where it came from, convert it in PyTorch: torch.save(torch.load("old.pth", map_location="cpu"), ` +
			`"new.pth").`,
	);
}

async function readPickle(zip: StoredZip, path: string, separator: string): Promise<Map<string, View>> {
	const roots = [...zip.entries.keys()]
		.flatMap((name) => /^(.*\/)?data\.pkl$/.exec(name)?.[1] ?? (name === "data.pkl" ? [""] : []))
		.filter((root) => root.split("/").length <= 2);
	if (roots.length !== 1)
		throw new ModelFormatError(`${path} is a zip archive with ${roots.length} data.pkl; a PyTorch checkpoint has one.`);
	const [root] = roots;
	const byteOrder = zip.entries.get(`${root}byteorder`);
	if (byteOrder !== undefined) {
		const text = new Uint8Array(Math.min(byteOrder, 16));
		await zip.read(`${root}byteorder`, 0, text);
		if (new TextDecoder().decode(text).trim() !== "little") refuse("its numbers are not little-endian");
	}
	const bytes = zip.entries.get(`${root}data.pkl`) as number;
	if (bytes > MAX_PICKLE_BYTES) refuse(`its data.pkl has ${bytes} bytes, more than ${MAX_PICKLE_BYTES}`);
	const pickle = new Uint8Array(bytes);
	await zip.read(`${root}data.pkl`, 0, pickle);
	const views = flatten(
		unpickle(pickle, GLOBALS, (id) => storage(id, root, zip)),
		separator,
	);
	refuseRepeats(views, zip);
	return views;
}

/** A persistent id: ("storage", class, key, device, elements). */
function storage(id: unknown, root: string, zip: StoredZip): Storage {
	const [kind, type, key, device, count, ...rest] = id instanceof Tuple ? id.items : [];
	if (
		kind !== "storage" ||
		!(type instanceof StorageType) ||
		typeof key !== "string" ||
		typeof device !== "string" ||
		rest.length > 0
	) {
		throw new PickleError("it has a persistent id that is no storage");
	}
	const entry = `${root}data/${key}`;
	const held = zip.entries.get(entry);
	if (held === undefined) throw new PickleError(`storage ${JSON.stringify(key)} is not in the archive`);
	const elements = size(count);
	if (elements * ELEMENT_BYTES[type.dtype] !== held)
		throw new PickleError(`storage ${key} of ${elements} ${type.dtype} has ${held} bytes`);
	return new Storage(entry, type.dtype, elements);
}

function flatten(value: unknown, separator: string): Map<string, View> {
	const views = new Map<string, View>();
	let visited = 0;
	const walk = (value: unknown, path: string, depth: number): void => {
		if (++visited > MAX_TENSORS) refuse(`it has more than ${MAX_TENSORS} entries`);
		if (path.length > MAX_NAME) refuse(`it has names of more than ${MAX_NAME} characters`);
		if (value instanceof View) {
			if (views.has(path)) refuse(`two tensors come to the name ${path}`);
			views.set(path, value);
			return;
		}
		const children =
			value instanceof Map
				? value
				: value instanceof Tuple
					? value.items.entries()
					: Array.isArray(value)
						? value.entries()
						: [];
		for (const [key, child] of children) {
			if (depth === MAX_DEPTH) refuse(`its dictionaries are nested deeper than ${MAX_DEPTH}`);
			walk(child, path === "" && depth === 0 ? `${key}` : `${path}${separator}${key}`, depth + 1);
		}
	};
	walk(value, "", 0);
	return views;
}

/** A few bytes can stand for endless tensors; no checkpoint repeats its storages so often. */
function refuseRepeats(views: ReadonlyMap<string, View>, zip: StoredZip): void {
	const held = [...zip.entries.values()].reduce((sum, bytes) => sum + bytes, 0);
	let told = 0;
	for (const { elements, dtype } of views.values()) told += elements * ELEMENT_BYTES[dtype];
	if (told > MAX_REPEATS * held + FREE_BYTES) refuse(`its tensors come to ${told} bytes, its storages to ${held}`);
}

function source(
	path: string,
	zip: StoredZip,
	views: ReadonlyMap<string, View>,
	close: () => Promise<void>,
): OpenTensorSource {
	const tensors = new Map(
		[...views].map(([name, { dtype, shape, elements }]): [string, SourceTensor] => [
			name,
			{ dtype, shape, bytes: elements * ELEMENT_BYTES[dtype] },
		]),
	);
	let gathered: { view: View; bytes: Uint8Array<ArrayBuffer> } | null = null;
	const opened: OpenTensorSource = {
		label: path,
		tensors,
		async read(name, start, end) {
			const { from, to } = rangeOf(opened, name, start, end);
			const view = views.get(name) as View;
			const element = ELEMENT_BYTES[view.dtype];
			if (view.contiguous) {
				const bytes = new Uint8Array(to - from);
				await zip.read(view.storage.entry, view.offset * element + from, bytes);
				return bytes;
			}
			if (gathered?.view !== view) {
				gathered = null;
				const span = new Uint8Array(gatherable(view, name, path));
				await zip.read(view.storage.entry, view.offset * element, span);
				gathered = { view, bytes: span };
			}
			const bytes = gather(view, gathered.bytes, from / element, to / element);
			if (to === tensors.get(name)?.bytes) gathered = null;
			return bytes;
		},
		[Symbol.asyncDispose]: close,
	};
	return opened;
}

function gatherable(view: View, name: string, path: string): number {
	const bytes = view.span * ELEMENT_BYTES[view.dtype];
	if (bytes <= MAX_GATHERED_BYTES) return bytes;
	throw new ModelFormatError(
		`${path}: tensor ${name} is a view over ${bytes} bytes that is not contiguous; up to ` +
			`${MAX_GATHERED_BYTES} are gathered. Save it with .contiguous().`,
	);
}

/**
 * Elements `from` to `to` of the view in row-major order. `span` holds the storage from the view's first element on.
 */
function gather({ shape, strides, dtype }: View, span: Uint8Array, from: number, to: number): Uint8Array<ArrayBuffer> {
	const element = ELEMENT_BYTES[dtype];
	const out = new Uint8Array((to - from) * element);
	const index = shape.map(() => 0);
	let rest = from;
	for (let i = shape.length - 1; i >= 0; i--) {
		index[i] = rest % shape[i];
		rest = Math.floor(rest / shape[i]);
	}
	let at = index.reduce((sum, value, i) => sum + value * strides[i], 0);
	for (let write = 0; write < out.byteLength; write += element) {
		for (let b = 0; b < element; b++) out[write + b] = span[at * element + b];
		for (let i = shape.length - 1; i >= 0; i--) {
			at += strides[i];
			if (++index[i] < shape[i]) break;
			at -= strides[i] * shape[i];
			index[i] = 0;
		}
	}
	return out;
}
