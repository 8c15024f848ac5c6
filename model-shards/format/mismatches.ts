/** Tensors that are there against those that a configuration asks for. */
import type { TensorEntry } from "./manifest.ts";
import type { TensorShape } from "./tensor-shapes.ts";

/** A tensor that is there. */
type Held = Pick<TensorEntry, "name"> & { dtype: string; shape: readonly number[] };

export interface Rules {
	/** What is wrong with the type of a wanted tensor; undefined where nothing is. */
	typeProblem(dtype: string, wanted: TensorShape): string | undefined;
	/** Whether a tensor of this name may be there though it is not wanted. */
	mayHold(name: string): boolean;
}

/** What is missing, of another shape or type than is wanted, or beside it: a line each, by name. */
export function mismatches(
	held: readonly Held[],
	wanted: readonly TensorShape[],
	{ typeProblem, mayHold }: Rules,
): string[] {
	const problems: string[] = [];
	const byName = new Map(held.map((tensor) => [tensor.name, tensor]));
	for (const tensor of wanted) {
		const { name, shape, also } = tensor;
		const found = byName.get(name);
		if (!found) problems.push(`${name} is missing`);
		else if (![shape, also].some((known) => known?.join() === found.shape.join()))
			problems.push(`${name} has shape [${found.shape}], the configuration asks for [${shape}]`);
		else {
			const problem = typeProblem(found.dtype, tensor);
			if (problem) problems.push(`${name} has type ${found.dtype}; ${problem}`);
		}
	}
	const known = new Set(wanted.map(({ name }) => name));
	for (const { name } of held)
		if (!known.has(name) && !mayHold(name)) problems.push(`${name} is not part of a model of this configuration`);
	return problems;
}

/** The same of a manifest's tensors, which may be of whole numbers, with their scales beside them. */
export function storedMismatches(stored: readonly TensorEntry[], wanted: readonly TensorShape[]): string[] {
	const scales = new Set(stored.flatMap(({ quantization }) => quantization?.scales ?? []));
	const problems = mismatches(stored, wanted, {
		typeProblem: (dtype, { matmul }) => {
			const types = matmul ? ["F32", "F16", "I8", "I4"] : ["F32", "F16"];
			return types.includes(dtype) ? undefined : `${types.join(", ")} can be read there`;
		},
		mayHold: (name) => scales.has(name),
	});
	const taken = new Set(wanted.map(({ name }) => name));
	for (const { name, quantization } of stored) {
		if (!quantization) continue;
		if (taken.has(quantization.scales))
			problems.push(`${quantization.scales} cannot be the scales of ${name}, since it is another tensor's already`);
		taken.add(quantization.scales);
	}
	return problems;
}
