import { type AttributeValue, encodeModel, type Initializer, type Node, type Value } from "./proto.ts";

/** Domain of ONNX Runtime's own operators. */
export const MICROSOFT = "com.microsoft";

/** Builds an ONNX graph node by node; every operator returns the name of its output. */
export class GraphBuilder {
	#nodes: Node[] = [];
	#initializers = new Map<string, Initializer>();
	#inputs: Value[] = [];
	#outputs: Value[] = [];

	input(name: string, shape: readonly (number | string)[]): string {
		this.#inputs.push({ name, shape });
		return name;
	}

	/** Names a value as an output of the graph. */
	output(name: string, value: string, shape: readonly (number | string)[]): void {
		this.op("Identity", [value], {}, name);
		this.#outputs.push({ name, shape });
	}

	constant(name: string, shape: readonly number[], data: Float32Array): string {
		if (!this.#initializers.has(name)) this.#initializers.set(name, { name, shape, data });
		return name;
	}

	/** A constant list of integers: shapes, axes, starts. */
	ints(...values: number[]): string {
		const name = `ints ${values.join(",")}`;
		if (!this.#initializers.has(name))
			this.#initializers.set(name, { name, shape: [values.length], data: BigInt64Array.from(values.map(BigInt)) });
		return name;
	}

	scalar(value: number): string {
		return this.constant(`scalar ${value}`, [], Float32Array.of(value));
	}

	op(
		op: string,
		inputs: readonly string[],
		attributes: Readonly<Record<string, AttributeValue>> = {},
		output = this.#fresh(),
		domain = "",
	): string {
		this.#nodes.push({ op, inputs, outputs: [output], attributes, domain });
		return output;
	}

	/** An operator with several outputs. */
	ops(
		op: string,
		inputs: readonly string[],
		count: number,
		attributes: Readonly<Record<string, AttributeValue>> = {},
		domain = "",
	): string[] {
		const outputs = Array.from({ length: count }, (_, i) => `${this.#fresh()}.${i}`);
		this.#nodes.push({ op, inputs, outputs, attributes, domain });
		return outputs;
	}

	encode(): Uint8Array {
		return encodeModel({
			nodes: this.#nodes,
			initializers: [...this.#initializers.values()],
			inputs: this.#inputs,
			outputs: this.#outputs,
		});
	}

	#fresh = () => `v${this.#nodes.length}`;
}
