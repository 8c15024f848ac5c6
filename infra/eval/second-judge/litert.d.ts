/** What is used of `@litertjs/core`. Its own types change those of typed arrays for the whole program. */
export class Tensor {
	constructor(data: Float32Array<ArrayBuffer>, shape: readonly number[]);
	toTypedArray(): Float32Array<ArrayBuffer>;
	delete(): void;
}
export function loadLiteRt(script: string): Promise<unknown>;
export function loadAndCompile(
	model: Uint8Array<ArrayBuffer>,
	options: { accelerator: "wasm" },
): Promise<{ run(input: Tensor): Promise<Tensor[]> }>;
