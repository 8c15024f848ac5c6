import type { Data, Workload } from "../peers/workloads.ts";
import { GraphBuilder, MICROSOFT } from "./graph.ts";

export interface OperatorGraph {
	how: string;
	model: Uint8Array;
	/** `y` as the graph gives it to what `Contender.result` promises. */
	read(y: Float32Array): Float32Array;
}

/**
 * A workload as ONNX graphs that need no input: the data are constants, so that none travels to the device in the timed
 * region (run them without graph optimisation, which would compute the result once and for all). Outputs: `y`, and
 * `done`, one float of it.
 */
export function operatorGraphs(work: Workload, data: Data): OperatorGraph[] {
	if (work.op === "matmul") {
		const { m, k, n, links } = work;
		const weight = (g: GraphBuilder, link: number) =>
			g.constant(`w ${link}`, link % 2 ? [n, k] : [k, n], data.w.slice(link * k * n, (link + 1) * k * n));
		const chain = (g: GraphBuilder) =>
			Array.from({ length: links }, (_, link) => weight(g, link)).reduce(
				(y, w) => g.op("MatMul", [y, w]),
				g.constant("x", [m, k], data.x),
			);
		return [{ how: "MatMul", read: asItIs, model: graph([m, links % 2 ? n : k], chain) }];
	}
	if (work.op === "attention") {
		const shape = [work.rows, work.tokens, work.heads * work.headDim];
		return [
			{ how: "MatMul, Softmax, MatMul", read: asItIs, model: graph(shape, (g) => attention(g, work, data, false)) },
			{ how: "MultiHeadAttention", read: asItIs, model: graph(shape, (g) => attention(g, work, data, true)) },
		];
	}
	const { height, width, input, output } = work;
	const conv = (g: GraphBuilder, x: string) =>
		g.op("Conv", [x, g.constant("w", [output, input, 3, 3], data.w), g.constant("bias", [output], data.bias)], {
			kernel_shape: { ints: [3, 3] },
			pads: { ints: [1, 1, 1, 1] },
		});
	const turn = (g: GraphBuilder, x: string, ...perm: number[]) => g.op("Transpose", [x], { perm: { ints: perm } });
	// A provider that works channels-last takes the transposes away with its own.
	return [
		{
			how: "Conv",
			read: (y) => channelsFirst(y, height * width),
			model: graph([1, output, height, width], (g) =>
				conv(g, g.constant("x", [1, input, height, width], channelsFirst(data.x, input))),
			),
		},
		{
			how: "Conv, channels last",
			read: asItIs,
			model: graph([1, height, width, output], (g) =>
				turn(g, conv(g, turn(g, g.constant("x", [1, height, width, input], data.x), 0, 3, 1, 2)), 0, 2, 3, 1),
			),
		},
	];
}

const asItIs = (y: Float32Array) => y;

/** [pixels, channels] to [channels, pixels], and with the number of pixels in place of the channels' the other way. */
function channelsFirst(x: Float32Array, channels: number): Float32Array {
	const pixels = x.length / channels;
	const out = new Float32Array(x.length);
	for (let p = 0; p < pixels; p++) for (let c = 0; c < channels; c++) out[c * pixels + p] = x[p * channels + c];
	return out;
}

function graph(shape: number[], build: (g: GraphBuilder) => string): Uint8Array {
	const g = new GraphBuilder();
	const y = build(g);
	g.output("y", y, shape);
	g.output(
		"done",
		g.op("Slice", [y, g.ints(...shape.map(() => 0)), g.ints(...shape.map(() => 1))]),
		shape.map(() => 1),
	);
	return g.encode();
}

function attention(g: GraphBuilder, work: Workload & { op: "attention" }, data: Data, fused: boolean): string {
	const { rows, tokens, keys, heads, headDim } = work;
	const width = heads * headDim;
	const q = g.constant("x", [rows, tokens, width], data.x);
	const k = g.constant("k", [rows, keys, width], data.k);
	const v = g.constant("v", [rows, keys, width], data.v);
	if (fused)
		return g.op(
			"MultiHeadAttention",
			[q, k, v],
			{ num_heads: { i: heads }, scale: { f: headDim ** -0.5 } },
			undefined,
			MICROSOFT,
		);
	const byHead = (x: string, perm: number[]) =>
		g.op("Transpose", [g.op("Reshape", [x, g.ints(rows, -1, heads, headDim)])], { perm: { ints: perm } });
	const scores = g.op("MatMul", [
		g.op("Mul", [byHead(q, [0, 2, 1, 3]), g.scalar(headDim ** -0.5)]),
		byHead(k, [0, 2, 3, 1]),
	]);
	const y = g.op("MatMul", [g.op("Softmax", [scores], { axis: { i: -1 } }), byHead(v, [0, 2, 1, 3])]);
	return g.op("Reshape", [g.op("Transpose", [y], { perm: { ints: [0, 2, 1, 3] } }), g.ints(rows, tokens, width)]);
}
