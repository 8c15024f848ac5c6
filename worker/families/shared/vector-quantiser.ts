import type { Scope } from "../../../kernels/gpu/scope.ts";
import { conv3x3 } from "../../../kernels/image/conv.ts";
import { resize } from "../../../kernels/image/interpolate.ts";
import { blend } from "../../../kernels/pointwise/blend.ts";
import { sampleCategories } from "../../../kernels/sample/categories.ts";
import { gatherRows } from "../../../kernels/tokens/gather.ts";
import type { LatentPart, Quantiser } from "../family.ts";
import { CODES, type CodebookConfig, codebookShape, phiName, phiOf, phiShareOf } from "./codebook.ts";
import type { Weights } from "./weights.ts";

/**
 * VAR's multi-scale vector quantisation (arXiv 2404.02905): a token is one code of a vocabulary. Its map is enlarged
 * bicubically to the latent's size, passed through phi(h) = (1 - s) h + s conv3x3(h), and added. `latentCells`: of all
 * latents together. Without `convolveLast` the codes of the last scale are added as they are.
 */
export function vectorQuantiser(
	scope: Scope,
	weights: Weights,
	config: CodebookConfig,
	latentCells: number,
	{ convolveLast = true }: { convolveLast?: boolean } = {},
): Quantiser {
	const shape = codebookShape(config);
	const { channels, logits: stride, alternatives: vocabulary } = shape;
	const share = phiShareOf(config);
	const maps = scope.tensor("enlarged maps", [latentCells, channels]);
	const convolved = scope.tensor("convolved maps", [latentCells, channels]);
	const asTheyAre = ({ scale, scales }: LatentPart) => !convolveLast && scale === scales - 1;
	return {
		...shape,
		shrink: "area",
		sample: (pass, op) => sampleCategories(pass, { ...op, vocabulary, stride, label: "sample codes" }),
		values(pass, { codes, values, tokens }) {
			const x = weights.get(CODES);
			gatherRows(pass, { x, index: codes, y: values, count: tokens, width: channels, label: "code values" });
		},
		add(pass, { values, latents, parts: all }) {
			for (const { from, to, scale } of all.filter(asTheyAre)) {
				const images = { from: [from], to: [to] };
				const add = scale > 0;
				resize(pass, { x: values, y: latents, how: "nearest", channels, add, ...images, label: "add codes" });
			}
			const parts = all.filter((part) => !asTheyAre(part));
			if (parts.length === 0) return;
			const images = { from: parts.map(({ from }) => from), to: parts.map(({ to }) => to) };
			resize(pass, { x: values, y: maps, how: "bicubic", channels, ...images, label: "enlarge maps" });
			const phis = Map.groupBy(parts, ({ scale, scales }) => phiOf(scale, scales, config.phis));
			for (const [phi, some] of share === 0 ? [] : phis) {
				conv3x3(pass, {
					x: maps,
					y: convolved,
					...weights.linear(phiName(config, phi)),
					images: some.map(({ to }) => to),
					inChannels: channels,
					outChannels: channels,
					label: `phi ${phi}`,
				});
			}
			for (const first of [true, false]) {
				const some = parts.filter(({ scale }) => (scale === 0) === first).map(({ to }) => to);
				if (some.length === 0) continue;
				const both = { a: maps, b: share === 0 ? maps : convolved, share };
				blend(pass, { ...both, y: latents, images: some, channels, add: !first, label: "sum maps" });
			}
		},
	};
}
