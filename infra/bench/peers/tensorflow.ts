import type { Tensor } from "@tensorflow/tfjs-core";
import type { Contender, Peer } from "./contender.ts";
import { webGpuOnNavigator } from "./navigator.ts";
import { type Data, dataOf, type Workload } from "./workloads.ts";

type Tf = typeof import("@tensorflow/tfjs-core");

/** TensorFlow.js's WebGPU backend on the WebGPU of this process. It has no fused attention. */
export const tensorflow: Peer<Workload> = {
	name: "TensorFlow.js",
	async *open(work) {
		const tf = await load();
		const { inputs, how, compute } = prepare(tf, work, dataOf(work));
		yield { how, contender: contender(tf, inputs, () => tf.tidy(compute)) };
	},
};

let loaded: Promise<Tf> | undefined;
function load(): Promise<Tf> {
	return (loaded ??= (async () => {
		await webGpuOnNavigator();
		const tf = await import("@tensorflow/tfjs-core");
		await import("@tensorflow/tfjs-backend-webgpu");
		if (!(await tf.setBackend("webgpu"))) throw new Error("its WebGPU backend does not start here");
		await tf.ready();
		return tf;
	})());
}

function contender(tf: Tf, inputs: Tensor[], compute: () => Tensor): Contender {
	return {
		async run() {
			const y = compute();
			const done = tf.slice(
				y,
				y.shape.map(() => 0),
				y.shape.map(() => 1),
			);
			await done.data();
			tf.dispose([y, done]);
		},
		async result() {
			const y = compute();
			const data = Float32Array.from(await y.data());
			y.dispose();
			return data;
		},
		async close() {
			tf.dispose(inputs);
		},
	};
}

function prepare(tf: Tf, work: Workload, data: Data): { inputs: Tensor[]; how: string; compute(): Tensor } {
	if (work.op === "matmul") {
		const { m, k, n, links } = work;
		const x = tf.tensor2d(data.x, [m, k]);
		const weights = Array.from({ length: links }, (_, link) =>
			tf.tensor2d(data.w.slice(link * k * n, (link + 1) * k * n), link % 2 ? [n, k] : [k, n]),
		);
		return { inputs: [x, ...weights], how: "matMul", compute: () => weights.reduce((y, w) => tf.matMul(y, w), x) };
	}
	if (work.op === "attention") {
		const { rows, tokens, keys, heads, headDim } = work;
		const q = tf.tensor4d(data.x, [rows, tokens, heads, headDim]);
		const k = tf.tensor4d(data.k, [rows, keys, heads, headDim]);
		const v = tf.tensor4d(data.v, [rows, keys, heads, headDim]);
		const byHead = (x: Tensor) => tf.transpose(x, [0, 2, 1, 3]);
		const compute = () =>
			tf.transpose(
				tf.matMul(tf.softmax(tf.matMul(tf.mul(byHead(q), headDim ** -0.5), byHead(k), false, true)), byHead(v)),
				[0, 2, 1, 3],
			);
		return { inputs: [q, k, v], how: "matMul, softmax, matMul", compute };
	}
	const { height, width, input, output } = work;
	const x = tf.tensor4d(data.x, [1, height, width, input]);
	const w = tf.tidy(() => tf.transpose(tf.tensor4d(data.w, [output, input, 3, 3]), [2, 3, 1, 0]));
	const bias = tf.tensor1d(data.bias);
	return {
		inputs: [x, w, bias],
		how: "fused conv2d",
		compute: () => tf.fused.conv2d({ x, filter: w as typeof x, strides: 1, pad: "same", bias }),
	};
}
