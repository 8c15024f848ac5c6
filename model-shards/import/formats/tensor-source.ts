/** What every reader of a checkpoint gives: named tensors, read piece by piece. */
import { ModelFormatError } from "../../format/errors.ts";

/** Bytes of one element, by the safetensors name of its type. */
export const ELEMENT_BYTES: Readonly<Record<string, number>> = {
	C128: 16,
	F64: 8,
	I64: 8,
	U64: 8,
	C64: 8,
	F32: 4,
	I32: 4,
	U32: 4,
	F16: 2,
	BF16: 2,
	I16: 2,
	U16: 2,
	F8_E4M3: 1,
	F8_E5M2: 1,
	I8: 1,
	U8: 1,
	BOOL: 1,
};

/** More tensors than any checkpoint has. */
export const MAX_TENSORS = 100_000;
export const MAX_DIMENSIONS = 16;

export interface SourceTensor {
	dtype: string;
	shape: number[];
	bytes: number;
}

/** Named tensors that can be read one at a time: a safetensors or `.pth` file, or several sources joined. */
export interface TensorSource {
	/** Named in errors. */
	label: string;
	tensors: ReadonlyMap<string, SourceTensor>;
	/** The bytes of a tensor in row-major order, or those from `from` to `to` (whole elements). */
	read(name: string, from?: number, to?: number): Promise<Uint8Array<ArrayBuffer>>;
}

export interface OpenTensorSource extends TensorSource, AsyncDisposable {}

/** The tensor and the checked range of a read. */
export function rangeOf(
	source: TensorSource,
	name: string,
	from = 0,
	to?: number,
): { tensor: SourceTensor; from: number; to: number } {
	const tensor = source.tensors.get(name);
	if (!tensor) throw new ModelFormatError(`${source.label} has no tensor ${name}.`);
	to ??= tensor.bytes;
	const element = ELEMENT_BYTES[tensor.dtype];
	if (from < 0 || from > to || to > tensor.bytes || from % element !== 0 || to % element !== 0) {
		throw new RangeError(
			`Bytes ${from} to ${to} of ${name} were asked for; it has ${tensor.bytes}, in elements of ${element}.`,
		);
	}
	return { tensor, from, to };
}

/** The tensor in pieces of at most `pieceBytes`, in order. */
export async function* pieces(
	source: TensorSource,
	name: string,
	pieceBytes = 2 ** 24,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
	const { tensor } = rangeOf(source, name);
	for (let from = 0; from < tensor.bytes; from += pieceBytes)
		yield await source.read(name, from, Math.min(tensor.bytes, from + pieceBytes));
}

/** The tensors whose names begin with `prefix`, without it. */
export function within(source: TensorSource, prefix: string): TensorSource {
	if (prefix === "") return source;
	const tensors = new Map<string, SourceTensor>();
	for (const [name, tensor] of source.tensors)
		if (name.startsWith(prefix)) tensors.set(name.slice(prefix.length), tensor);
	return { label: source.label, tensors, read: (name, from, to) => source.read(prefix + name, from, to) };
}

/**
 * What PyTorch's wrappers put into the names of the modules inside them: torch.compile, FSDP, activation checkpoints.
 */
const WRAPPERS = /(^|\.)(_orig_mod|_fsdp_wrapped_module|_fpw_module|_checkpoint_wrapped_module)(?=\.)/g;
/** FSDP's own form, in which a rank holds its share of all parameters end to end. */
const FLAT = /(^|\.)(_flat_param|flat_param_\d+|_flat_param_\d+)(\.|$)/;
/** Modules deep that a name may lie in what a checkpoint is wrapped in. */
const MAX_NESTING = 8;

/** The tensors by the names they have without wrappers. Throws ModelFormatError where two come to one name. */
export function unwrapped(source: TensorSource): TensorSource {
	const tensors = new Map<string, SourceTensor>();
	const own = new Map<string, string>();
	for (const [name, tensor] of source.tensors) {
		if (FLAT.test(name))
			throw new ModelFormatError(
				`${source.label} holds ${clip(name)}: FSDP's flattened parameters, of which one file has a part. Save the ` +
					"full state_dict (StateDictType.FULL_STATE_DICT) and import that.",
			);
		const plain = name.replace(WRAPPERS, "").replace(/^\./, "");
		const other = own.get(plain);
		if (other !== undefined)
			throw new ModelFormatError(`${source.label} holds both ${clip(other)} and ${clip(name)}. Keep one of them.`);
		own.set(plain, name);
		tensors.set(plain, tensor);
	}
	if (![...own].some(([plain, name]) => plain !== name)) return source;
	const renamed: TensorSource = {
		label: source.label,
		tensors,
		async read(name, from, to) {
			rangeOf(renamed, name, from, to);
			return await source.read(own.get(name) as string, from, to);
		},
	};
	return renamed;
}

/**
 * The part of a checkpoint that holds most of `names`, wherever in it that is, without wrappers: at the top, or under
 * what a training script or an average of the weights is called (`trainer.var_wo_ddp.`, `module.`, `ema_model.`). Of
 * two that hold as many, the weights come before an average of them (with `ema` in its name), as the published files
 * are read, then the one higher up. Where none holds any, the whole checkpoint, so that the importer can list what is
 * missing.
 */
export function stateDict(source: TensorSource, names: Iterable<string>): TensorSource {
	const whole = unwrapped(source);
	const wanted = new Set(names);
	const counts = new Map<string, number>();
	for (const name of whole.tensors.keys())
		for (const prefix of prefixes(name))
			if (wanted.has(name.slice(prefix.length))) counts.set(prefix, (counts.get(prefix) ?? 0) + 1);
	const rank = (prefix: string) => [counts.get(prefix) ?? 0, -Number(/(^|[._])ema/i.test(prefix)), -prefix.length];
	const best = [...counts.keys()].reduce<string | undefined>(
		(a, b) => (a === undefined || isGreater(rank(b), rank(a)) ? b : a),
		undefined,
	);
	return within(whole, best ?? "");
}

/** Of a name: the whole modules that it may lie in, from none on. */
function* prefixes(name: string): Generator<string, void, void> {
	yield "";
	let at = 0;
	for (let depth = 0; depth < MAX_NESTING; depth++) {
		const dot = name.indexOf(".", at);
		if (dot === -1) return;
		at = dot + 1;
		yield name.slice(0, at);
	}
}

/** By the first number that differs. */
function isGreater(a: readonly number[], b: readonly number[]): boolean {
	const differing = a.findIndex((value, i) => value !== b[i]);
	return differing !== -1 && a[differing] > b[differing];
}

/** Several files of one checkpoint as one. A name in two of them is refused. */
export function joined(label: string, sources: readonly TensorSource[]): TensorSource {
	const of = new Map<string, TensorSource>();
	const tensors = new Map<string, SourceTensor>();
	for (const source of sources) {
		for (const [name, tensor] of source.tensors) {
			const other = of.get(name);
			if (other)
				throw new ModelFormatError(`Tensor ${name} stands in ${other.label} and in ${source.label}. Keep one of them.`);
			of.set(name, source);
			tensors.set(name, tensor);
		}
	}
	const joint: TensorSource = {
		label,
		tensors,
		async read(name, from, to) {
			rangeOf(joint, name, from, to);
			return await (of.get(name) as TensorSource).read(name, from, to);
		},
	};
	return joint;
}

/** By name. */
export const shapesOf = ({ tensors }: TensorSource): Map<string, number[]> =>
	new Map([...tensors].map(([name, { shape }]) => [name, shape]));

/** Words from a file that is not trusted, short enough for an error message. */
export function clip(text: string): string {
	return text.length <= 400 ? text : `${text.slice(0, 400)}…`;
}
