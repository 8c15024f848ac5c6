import { attention } from "../../../kernels/attention/attention.ts";
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { conv3x3, convWeight } from "../../../kernels/image/conv.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { rowTable } from "../../../kernels/tokens/rows.ts";
import type { Contender } from "./contender.ts";
import { type Data, dataOf, type Workload } from "./workloads.ts";

/** Firstlight's kernels, through the calls the engine makes. */
export function firstlight(gpu: Gpu, work: Workload): Contender {
	const data = dataOf(work);
	const put = (name: string, values: Float32Array<ArrayBuffer>) => gpu.upload(`bench ${name}`, [values.length], values);
	const { inputs, outputs, record } = prepare(work, data, put);
	const y = gpu.tensor("bench y", [outputs]);
	const submit = (read: Tensor) => {
		const pass = gpu.pass("bench");
		record(pass, y);
		return pass.submit([read]);
	};
	return {
		run: async () => void (await submit({ ...y, bytes: 16 })),
		result: async () => new Float32Array((await submit(y))[0], 0, outputs),
		async close() {
			gpu.free(...inputs, y);
		},
	};
}

interface Prepared {
	inputs: Tensor[];
	outputs: number;
	record(pass: Pass, y: Tensor): void;
}

function prepare(
	work: Workload,
	data: Data,
	put: (name: string, values: Float32Array<ArrayBuffer>) => Tensor,
): Prepared {
	const label = work.name;
	const x = put("x", data.x);
	if (work.op === "matmul") {
		const { m, k, n, links } = work;
		const weights = Array.from({ length: links }, (_, link) =>
			put(`w ${link}`, data.w.slice(link * k * n, (link + 1) * k * n)),
		);
		const between = [n, k].map((width) => put("between", new Float32Array(m * width)));
		const record = (pass: Pass, y: Tensor) =>
			weights.forEach((weight, link) => {
				const [from, to] = link % 2 ? [n, k] : [k, n];
				matmul(pass, {
					x: link === 0 ? x : between[(link - 1) % 2],
					weight,
					y: link === links - 1 ? y : between[link % 2],
					m,
					k: from,
					n: to,
					label,
				});
			});
		return { inputs: [x, ...weights, ...between], outputs: m * (links % 2 ? n : k), record };
	}
	if (work.op === "attention") {
		const { rows, tokens, keys, heads, headDim } = work;
		const width = heads * headDim;
		const kv = put("kv", interleave(data.k, data.v, width));
		const table = Array.from({ length: rows }, (_, row) => ({
			token: row * tokens,
			tokens,
			cond: row,
			rope: 0,
			key: row * keys,
			keys,
			append: 0,
		}));
		return {
			inputs: [x, kv],
			outputs: rows * tokens * width,
			record: (pass, y) =>
				attention(pass, {
					q: x,
					qStride: width,
					kv: { tensor: kv, stride: 2 * width, key: 0, value: width },
					y,
					heads,
					headDim,
					scale: headDim ** -0.5,
					rows: rowTable(pass, table),
					label,
				}),
		};
	}
	const { height, width, input, output } = work;
	const weight = put("w", convWeight(data.w, output, input));
	const bias = put("bias", data.bias);
	const images = [{ pixel: 0, height, width }];
	return {
		inputs: [x, weight, bias],
		outputs: height * width * output,
		record: (pass, y) => conv3x3(pass, { x, y, weight, bias, images, inChannels: input, outChannels: output, label }),
	};
}

/** Each key followed by its value. */
function interleave(k: Float32Array, v: Float32Array, width: number): Float32Array<ArrayBuffer> {
	const out = new Float32Array(k.length + v.length);
	for (let key = 0; key < k.length / width; key++) {
		out.set(k.subarray(key * width, (key + 1) * width), key * 2 * width);
		out.set(v.subarray(key * width, (key + 1) * width), (key * 2 + 1) * width);
	}
	return out;
}
