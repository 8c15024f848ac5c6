import type { Tensor } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { resize } from "../../../kernels/image/interpolate.ts";
import { codeValues, sampleBits } from "../../../kernels/sample/bits.ts";
import type { SampleRow } from "../../../kernels/sample/row.ts";
import type { LatentPart, Quantiser } from "../family.ts";

/**
 * Binary spherical quantisation (arXiv 2406.07548): a cell is `bits` signs, a token the patch^2 cells of its patch, two
 * logits a bit; maps add up bilinearly.
 */
export class Bsq implements Quantiser {
	readonly bits: number;
	readonly logits: number;
	readonly choices: number;
	readonly patch: number;
	readonly channels: number;
	readonly features: number;
	readonly shrink = "bilinear";

	#cellBits: number;

	constructor(cellBits: number, patch = 1) {
		this.#cellBits = cellBits;
		this.bits = cellBits * patch ** 2;
		this.logits = 2 * this.bits;
		this.choices = this.bits;
		this.patch = patch;
		this.channels = Math.ceil(cellBits / 4) * 4;
		this.features = this.bits;
	}

	sample(
		pass: Pass,
		op: { logits: Tensor; mixed: Tensor; codes: Tensor; taus?: Tensor; rows: readonly SampleRow[] },
	): void {
		sampleBits(pass, { ...op, bits: this.bits, label: "sample bits" });
	}

	values(pass: Pass, op: { codes: Tensor; values: Tensor; tokens: number }): void {
		codeValues(pass, { ...op, bits: this.bits, sphere: this.#cellBits, label: "code values" });
	}

	add(pass: Pass, { values, latents, parts }: { values: Tensor; latents: Tensor; parts: readonly LatentPart[] }): void {
		for (const first of [true, false]) {
			const some = parts.filter(({ scale }) => (scale === 0) === first);
			if (some.length === 0) continue;
			const [from, to] = [some.map((part) => part.from), some.map((part) => part.to)];
			resize(pass, {
				x: values,
				y: latents,
				how: "bilinear",
				channels: this.channels,
				add: !first,
				from,
				to,
				label: "sum codes",
			});
		}
	}

	destroy(): void {}
}
