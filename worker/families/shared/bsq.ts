import { resize } from "../../../kernels/image/interpolate.ts";
import { codeValues, sampleBits } from "../../../kernels/sample/bits.ts";
import type { CodeShape, Quantiser } from "../family.ts";
import { padded } from "./padded.ts";

/** A cell is `cellBits` signs, a token the patch^2 cells of its patch, two logits a bit. */
export function bsqShape(cellBits: number, patch = 1): CodeShape {
	const bits = cellBits * patch ** 2;
	const codes = { bits, choices: bits, alternatives: 2, patch, numbers: cellBits };
	return { ...codes, logits: padded(2 * bits), channels: padded(cellBits), features: padded(bits) };
}

/** Binary spherical quantisation (arXiv 2406.07548); maps add up bilinearly. */
export function bsq(cellBits: number, patch = 1): Quantiser {
	const shape = bsqShape(cellBits, patch);
	const { bits, channels, features, logits } = shape;
	return {
		...shape,
		shrink: "bilinear",
		sample: (pass, op) => sampleBits(pass, { ...op, bits, stride: logits, label: "sample bits" }),
		values: (pass, op) => codeValues(pass, { ...op, bits, stride: features, sphere: cellBits, label: "code values" }),
		add(pass, { values, latents, parts }) {
			for (const first of [true, false]) {
				const some = parts.filter(({ scale }) => (scale === 0) === first);
				if (some.length === 0) continue;
				const images = { from: some.map(({ from }) => from), to: some.map(({ to }) => to) };
				const how = "bilinear";
				resize(pass, { x: values, y: latents, how, channels, add: !first, ...images, label: "sum codes" });
			}
		},
	};
}
