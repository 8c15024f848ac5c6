/** Where the tokens of a round lie: a value, and another one whenever a part gets other tokens than before. */
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import type { Row } from "../../../kernels/tokens/rows.ts";
import { condOf } from "./kv-plan.ts";
import type { Part } from "./parts.ts";
import type { Span } from "./spans.ts";

/** A part in the batch: its guidance rows lie one after the other, `length` tokens each. */
export interface Place {
	readonly part: Part;
	/** First token. */
	readonly at: number;
	/** Tokens of a row: all of the scale's, or those of the reduced span that it is in. */
	readonly length: number;
	readonly span: Span | undefined;
}

/** The flat batch as it lies now. */
export interface Layout {
	/** [tokens, width]: the residual stream. */
	readonly x: Tensor;
	/** Takes the tokens when they are laid out anew. */
	readonly other: Tensor;
	readonly places: readonly Place[];
}

/** Every part at full length, one after the other. */
export const fullLayout = (parts: readonly Part[], x: Tensor, other: Tensor): Layout => ({
	x,
	other,
	places: parts.map((part) => ({ part, at: part.first, length: part.tokens, span: undefined })),
});

export const tokensIn = (places: readonly Place[]): number =>
	places.reduce((sum, { part, length }) => sum + part.rows.length * length, 0);

/** One row a part and guidance row, in the order of the flat batch. */
export function rowsIn(
	places: readonly Place[],
	more: (place: Place, row: number) => Partial<Row> = () => ({}),
): Row[] {
	return places.flatMap((place) =>
		place.part.rows.map((row, i) => ({
			token: place.at + i * place.length,
			tokens: place.length,
			cond: condOf(place.part.picture.slot, row),
			rope: 0,
			key: 0,
			keys: 0,
			append: 0,
			...more(place, row),
		})),
	);
}

/**
 * Those tokens of a part's rows that stand for the cells of its grid: the last ones, where a text comes before the
 * first cell, else all.
 */
export const cellTokens = ({ part: { rows, codes }, at, length }: Place): { token: number; tokens: number }[] => {
	const tokens = Math.min(length, codes);
	return rows.map((_, row) => ({ token: at + (row + 1) * length - tokens, tokens }));
};
