/** What VAR, STAR and HART share as published: token maps and the picture tokenizer, `vae_ch160v4096z32.pth`. */
import { ModelFormatError } from "../../../model-shards/format/errors.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import type { CodebookConfig } from "./codebook.ts";
import type { VaeConfig } from "./vae.ts";

/** Side lengths of the token maps, by the side of the picture. */
export const SIDES = {
	256: [1, 2, 3, 4, 5, 6, 8, 10, 13, 16],
	512: [1, 2, 3, 4, 6, 9, 13, 18, 24, 32],
	1024: [1, 2, 3, 4, 5, 7, 9, 12, 16, 21, 27, 36, 48, 64],
} as const;

/** The one schedule of a model that draws squares of this side. */
export function square(side: keyof typeof SIDES): Record<string, Schedule> {
	return { "1:1": { grids: SIDES[side].map((side) => [side, side]), image: { height: side, width: side } } };
}

export const TOKENIZER: { codebook: CodebookConfig; vae: VaeConfig } = {
	codebook: { vocabulary: 4096, channels: 32, phis: 4 },
	vae: { baseChannels: 160, multipliers: [1, 1, 2, 2, 4], residualBlocks: 2, normGroups: 32, normEps: 1e-6 },
};

/** The entry of a size, in any case. Throws ModelFormatError for one that was not published. */
export function publishedSize<T>(title: string, sizes: Readonly<Record<string, T>>, size: string): T {
	const key = size.toLowerCase();
	if (Object.hasOwn(sizes, key)) return sizes[key];
	throw new ModelFormatError(
		`${title} was not published in size ${size}. There are: ${Object.keys(sizes).join(", ")}.`,
	);
}
