/**
 * A kernel says its names once. What its parameters, bindings and options are called in WGSL is what they are called
 * where it is run, and the compiler checks them there. Structs, binding numbers and enables are written from the same
 * lists; the text is made once for the same options and kinds of tensors.
 */
import { Branch } from "./branch.ts";
import type { Tensor } from "./tensor.ts";

type Scalar = "u32" | "f32";
/** Scalars in their order; those with a question mark may be left out, and then are 0. */
export type Fields = Readonly<Record<string, Scalar | `${Scalar}?`>>;
/** Numbers for all fields. */
export type Values<F extends Fields> = {
	readonly [N in keyof F as F[N] extends Scalar ? N : never]: number;
} & { readonly [N in keyof F as F[N] extends Scalar ? never : N]?: number };

/** A struct of 32-bit scalars, in WGSL and packed into words: no member needs padding. */
export class Struct<F extends Fields = Fields> {
	readonly name: string;
	readonly fields: F;
	/** Its declaration. */
	readonly wgsl: string;
	/** How many 32-bit words it takes. */
	readonly words: number;
	#names: readonly string[];
	#floats: readonly boolean[];

	constructor(name: string, fields: F) {
		const members = Object.entries(fields).map(([member, type]) => [member, type.replace("?", "")]);
		this.name = name;
		this.fields = fields;
		this.wgsl = `struct ${name} {\n${members.map(([member, type]) => `\t${member}: ${type},`).join("\n")}\n}`;
		this.words = members.length;
		this.#names = members.map(([member]) => member);
		this.#floats = members.map(([, type]) => type === "f32");
	}

	/** Writes `values` from word `at` on; `words` and `floats` are views of the same memory. */
	pack(values: Values<F>, words: Uint32Array, floats: Float32Array, at: number): void {
		const named: Readonly<Record<string, number | undefined>> = values;
		for (let i = 0; i < this.words; i++) (this.#floats[i] ? floats : words)[at + i] = named[this.#names[i]] ?? 0;
	}
}

/** What one element of a tensor is in WGSL: a type, a struct, or `vec4`, which is vec4f or, of an f16 tensor, vec4h. */
type Element = "vec4" | "vec4f" | "vec4u" | "vec2f" | "vec2u" | "f32" | "u32" | Struct;

/** A tensor that a kernel reads, or reads and writes. */
interface Binding<Optional extends boolean = boolean> {
	readonly access: "read" | "read_write";
	readonly element: Element;
	readonly optional: Optional;
}
/** By their names, in the order of their numbers. */
export type Bindings = Readonly<Record<string, Binding>>;

export const read = (element: Element): Binding<false> => ({ access: "read", element, optional: false });
export const write = (element: Element): Binding<false> => ({ access: "read_write", element, optional: false });
/** May be left out: then the program does without it. */
export const optional = ({ access, element }: Binding): Binding<true> => ({ access, element, optional: true });

/** Tensors for all bindings. */
export type Bound<B extends Bindings> = {
	readonly [N in keyof B as B[N] extends Binding<true> ? never : N]: Tensor;
} & { readonly [N in keyof B as B[N] extends Binding<true> ? N : never]?: Tensor };
/** What the tensors are that a program is written for; undefined where one is left out. */
export type Given<B extends Bindings> = { readonly [N in keyof B]: "f32" | "f16" | undefined };

/** A kernel for some options and kinds of tensors: there is one object for each, which its pipeline is known by. */
export interface Program {
	/** The kernel's. */
	readonly name: string;
	/** WGSL with an entry point `main`. */
	readonly code: string;
	/** How many tensors it is run with, the uniform parameters among them. */
	readonly bindings: number;
}

interface Declaration<P extends Fields, B extends Bindings, O extends object> {
	/** Of the operator, for people: labels of pipelines, profiles. */
	name: string;
	/** Uniform, named `p` in WGSL; left out where there are none. */
	params?: P;
	bindings: B;
	/** WGSL extensions beside f16, which tensors of f16 bring. */
	enable?(options: Required<O>): readonly string[];
	/** WGSL of the entry point `main` and what it calls. Options are plain values, or objects that are made once. */
	code(options: Required<O>, given: Given<B>): string;
}

/** How a kernel is run: with `params` and `options` where it has any. */
export type Call<P extends Fields, B extends Bindings, O extends object> = {
	label: string;
	bindings: Bound<B>;
	/** Workgroups in x, y, z. Nothing runs where one is 0. */
	groups: readonly [number, number?, number?];
} & (keyof P extends never ? { params?: undefined } : { params: Values<P> }) &
	(keyof O extends never ? { options?: undefined } : { options: Required<O> });

export class Kernel<P extends Fields = Fields, B extends Bindings = Bindings, O extends object = object> {
	readonly name: string;
	/** Of the uniform, where there is one. */
	readonly params: Struct<P> | undefined;
	#declaration: Declaration<P, B, O>;
	#bindings: readonly { name: string; binding: Binding }[];
	/** As the first call names them: TypeScript lets no call leave one out. */
	#options: readonly (keyof O)[] | undefined;
	/** By one option after the other, then by the kinds of tensors. */
	#programs = new Branch<Program>();

	constructor(declaration: Declaration<P, B, O>) {
		this.name = declaration.name;
		this.params = declaration.params && new Struct("Params", declaration.params);
		this.#declaration = declaration;
		this.#bindings = Object.entries(declaration.bindings).map(([name, binding]) => ({ name, binding }));
	}

	/**
	 * The program for these tensors, which go to `into` in the order of their numbers, behind its parameters where it has
	 * any. Throws RangeError.
	 */
	program(label: string, options: Required<O> | undefined, tensors: Bound<B>, into: Tensor[]): Program {
		const named: Readonly<Record<string, Tensor | undefined>> = tensors;
		// One digit for each binding: whether one is there that need not be, and whether it is f16.
		let kinds = 0;
		for (const { name, binding } of this.#bindings) {
			const { element, optional } = binding;
			const tensor = named[name];
			const half = tensor?.dtype === "f16";
			if (!tensor && !optional) throw new RangeError(`${label}: ${this.name} needs ${name}.`);
			if (half && element !== "vec4") throw new RangeError(`${label}: ${this.name} reads no f16 from ${name}.`);
			kinds = kinds * 3 + (half ? 2 : tensor && optional ? 1 : 0);
			if (tensor) into.push(tensor);
		}
		let branch = this.#programs;
		if (options) {
			this.#options ??= Object.keys(options) as (keyof O)[];
			for (const name of this.#options) branch = branch.by(options[name]);
		}
		branch = branch.by(kinds);
		return (branch.leaf ??= {
			name: this.name,
			code: this.#text(options ?? ({} as Required<O>), named),
			bindings: into.length,
		});
	}

	#text(options: Required<O>, tensors: Readonly<Record<string, Tensor | undefined>>): string {
		const bound = this.#bindings.flatMap(({ name, binding }) => {
			const tensor = tensors[name];
			return tensor ? [{ name, ...binding, dtype: tensor.dtype ?? ("f32" as const) }] : [];
		});
		const { enable, code } = this.#declaration;
		const extensions = new Set(bound.flatMap(({ dtype }) => (dtype === "f16" ? [dtype] : [])));
		const structs = new Set(bound.flatMap(({ element }) => (typeof element === "string" ? [] : [element])));
		const variables = bound.map(({ name, access, element, dtype }) => {
			const type = typeof element !== "string" ? element.name : element !== "vec4" ? element : VEC4[dtype];
			return `var<storage, ${access}> ${name}: array<${type}>;`;
		});
		const uniform = this.params ? [this.params] : [];
		return [
			...new Set([...extensions, ...(enable?.(options) ?? [])]).values().map((extension) => `enable ${extension};`),
			...[...structs, ...uniform].map(({ wgsl }) => wgsl),
			...[...uniform.map(() => "var<uniform> p: Params;"), ...variables].map(
				(variable, number) => `@group(0) @binding(${number}) ${variable}`,
			),
			code(options, Object.fromEntries(bound.map(({ name, dtype }) => [name, dtype])) as Given<B>),
		].join("\n");
	}
}

const VEC4 = { f32: "vec4f", f16: "vec4h" };

/** Declares a kernel. */
export const kernel = <
	P extends Fields = Record<never, never>,
	B extends Bindings = Record<never, never>,
	O extends object = object,
>(
	declaration: Declaration<P, B, O>,
): Kernel<P, B, O> => new Kernel(declaration);

/** Declares a struct of which tables are made (`Pass.rows`). */
export const struct = <F extends Fields>(name: string, fields: F): Struct<F> => new Struct(name, fields);
