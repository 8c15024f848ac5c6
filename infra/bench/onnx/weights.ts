import type { ModelFolder } from "../../../worker/families/folder.ts";

/** A model's weights on the host, under their official names and in their official layout. */
export class HostWeights {
	#tensors = new Map<string, { shape: number[]; data: Float32Array }>();

	static async read(folder: ModelFolder): Promise<HostWeights> {
		const weights = new HostWeights();
		for await (const { name, dtype, shape, bytes } of folder.tensors()) {
			const { buffer } = bytes.slice();
			weights.#tensors.set(name, {
				shape,
				data: dtype === "F16" ? Float32Array.from(new Float16Array(buffer)) : new Float32Array(buffer),
			});
		}
		return weights;
	}

	get(name: string): Float32Array {
		return this.#of(name).data;
	}

	/** A linear layer's [n, k] as the [k, n] that ONNX's MatMul takes. */
	matrix(name: string): { shape: [k: number, n: number]; data: Float32Array } {
		const {
			data,
			shape: [n, k],
		} = this.#of(name);
		const out = new Float32Array(data.length);
		for (let row = 0; row < n; row++)
			for (let column = 0; column < k; column++) out[column * n + row] = data[row * k + column];
		return { shape: [k, n], data: out };
	}

	#of(name: string) {
		const tensor = this.#tensors.get(name);
		if (!tensor) throw new RangeError(`The model has no tensor ${name}.`);
		return tensor;
	}
}
