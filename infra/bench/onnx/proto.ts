/** The messages of the ONNX format (onnx.proto, IR version 9) that a plain graph of float tensors needs. */
import protobuf from "protobufjs/light.js";

type Field = [type: string, id: number, rule?: "repeated"];
const message = (fields: Record<string, Field>) => ({
	fields: Object.fromEntries(
		Object.entries(fields).map(([name, [type, id, rule]]) => [name, rule ? { type, id, rule } : { type, id }]),
	),
});
const root = protobuf.Root.fromJSON({
	nested: {
		OperatorSet: message({ domain: ["string", 1], version: ["int64", 2] }),
		Model: message({
			irVersion: ["int64", 1],
			producerName: ["string", 2],
			graph: ["Graph", 7],
			opsetImport: ["OperatorSet", 8, "repeated"],
		}),
		Graph: message({
			node: ["Node", 1, "repeated"],
			name: ["string", 2],
			initializer: ["Tensor", 5, "repeated"],
			input: ["ValueInfo", 11, "repeated"],
			output: ["ValueInfo", 12, "repeated"],
		}),
		Node: message({
			input: ["string", 1, "repeated"],
			output: ["string", 2, "repeated"],
			name: ["string", 3],
			opType: ["string", 4],
			attribute: ["Attribute", 5, "repeated"],
			domain: ["string", 7],
		}),
		Attribute: message({
			name: ["string", 1],
			f: ["float", 2],
			i: ["int64", 3],
			s: ["bytes", 4],
			ints: ["int64", 8, "repeated"],
			type: ["int32", 20],
		}),
		Tensor: message({
			dims: ["int64", 1, "repeated"],
			dataType: ["int32", 2],
			name: ["string", 8],
			rawData: ["bytes", 9],
		}),
		ValueInfo: message({ name: ["string", 1], type: ["Type", 2] }),
		Type: message({ tensorType: ["TensorType", 1] }),
		TensorType: message({ elemType: ["int32", 1], shape: ["Shape", 2] }),
		Shape: message({ dim: ["Dimension", 1, "repeated"] }),
		Dimension: message({ dimValue: ["int64", 1], dimParam: ["string", 2] }),
	},
});
const Model = root.lookupType("Model");

export const FLOAT = 1;
export const INT64 = 7;
const ATTRIBUTE = { f: 1, i: 2, s: 3, ints: 7 };

export type AttributeValue = { f: number } | { i: number } | { s: string } | { ints: readonly number[] };
export interface Node {
	op: string;
	inputs: readonly string[];
	outputs: readonly string[];
	attributes: Readonly<Record<string, AttributeValue>>;
	/** "" is the standard operator set; "com.microsoft" ONNX Runtime's own. */
	domain: string;
}
export interface Initializer {
	name: string;
	shape: readonly number[];
	data: Float32Array | BigInt64Array;
}
/** A float tensor; a named dimension is free. */
export interface Value {
	name: string;
	shape: readonly (number | string)[];
}
export interface Graph {
	nodes: readonly Node[];
	initializers: readonly Initializer[];
	inputs: readonly Value[];
	outputs: readonly Value[];
}

/** A graph as the bytes of an .onnx file, standard operators of opset 20. */
export function encodeModel(graph: Graph): Uint8Array {
	const { nodes, initializers, inputs, outputs } = graph;
	const value = ({ name, shape }: Value) => ({
		name,
		type: {
			tensorType: {
				elemType: FLOAT,
				shape: { dim: shape.map((size) => (typeof size === "number" ? { dimValue: size } : { dimParam: size })) },
			},
		},
	});
	return Model.encode({
		irVersion: 9,
		producerName: "firstlight",
		opsetImport: [
			{ domain: "", version: 20 },
			{ domain: "com.microsoft", version: 1 },
		],
		graph: {
			name: "graph",
			node: nodes.map(({ op, inputs, outputs, attributes, domain }, i) => ({
				input: inputs,
				output: outputs,
				name: `${op} ${i}`,
				opType: op,
				domain,
				attribute: Object.entries(attributes).map(attribute),
			})),
			initializer: initializers.map(({ name, shape, data }) => ({
				dims: shape,
				dataType: data instanceof Float32Array ? FLOAT : INT64,
				name,
				rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
			})),
			input: inputs.map(value),
			output: outputs.map(value),
		},
	}).finish();
}

function attribute([name, value]: [string, AttributeValue]) {
	if ("s" in value) return { name, type: ATTRIBUTE.s, s: new TextEncoder().encode(value.s) };
	const kind = Object.keys(value)[0] as "f" | "i" | "ints";
	return { name, type: ATTRIBUTE[kind], ...value };
}
