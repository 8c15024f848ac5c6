/** A tensor of a model as data: its official name, its shape, and what it becomes on a device. */

/**
 * Official [n, k] as [k, n]; 3x3 convolutions as [3, 3, in, out]; [n, k] with rows that kernels read by four, whatever
 * k; tables and vectors as they are.
 */
export type Layout = "matrix" | "convolution" | "rows" | "plain";

export interface TensorShape {
	name: string;
	shape: number[];
	/** Another shape that checkpoints hold the same numbers in. */
	also?: number[];
	layout: Layout;
	/** A [n, k] matrix that may be quantised along k. */
	matmul?: true;
	/** What it multiplies leaves the range of f16 in the published sizes: it stays f32. */
	wide?: true;
	/** A table whose rows are looked up and no more: it is cut by rows where a binding does not hold it. */
	lookup?: true;
	/** No tensor of its own on the device but a part of this vector, behind so many zeros. Parts stand in their order. */
	joins?: { vector: string; zeros: number };
}

export const matrix = (name: string, from: number, to: number): TensorShape => ({
	name: `${name}.weight`,
	shape: [to, from],
	layout: "matrix",
	matmul: true,
});

/** Whatever is looked up or added as it is; `name` is the whole one. */
export const plain = (name: string, ...shape: number[]): TensorShape => ({ name, shape, layout: "plain" });

const bias = (name: string, width: number): TensorShape => plain(`${name}.bias`, width);

export const linear = (name: string, from: number, to: number): TensorShape[] => [
	matrix(name, from, to),
	bias(name, to),
];

/** First and last layers: small, and worth their full precision. */
export const precise = (name: string, from: number, to: number): TensorShape[] => [
	{ name: `${name}.weight`, shape: [to, from], layout: "matrix" },
	bias(name, to),
];

/** Rows that are looked up. */
export const table = (name: string, rows: number, width: number): TensorShape => plain(`${name}.weight`, rows, width);

/** A weight by channel, without a bias. */
export const scale = (name: string, width: number): TensorShape => plain(`${name}.weight`, width);

export const norm = (name: string, width: number): TensorShape[] => [scale(name, width), bias(name, width)];

/** `side`: 3, or 1 for what multiplies pixel by pixel. */
export const conv = (name: string, from: number, to: number, side: 1 | 3 = 3): TensorShape[] => [
	{ name: `${name}.weight`, shape: [to, from, side, side], layout: side === 3 ? "convolution" : "matrix" },
	bias(name, to),
];
