/** Intermediate tensors of one exact picture, by the names that its family has for them, measured as they come. */
import { shareHolding } from "../../worker/engine/round/detail.ts";
import { highFrequencyShare } from "../../worker/engine/round/frequency.ts";
import type { LoadedModel, Tap, TappedTensor } from "../../worker/engine/types.ts";
import { channelsLast } from "../../worker/families/shared/taps.ts";
import type { ScaleObservation } from "../../worker/policies/measurements/measurement.ts";
import type { Schedule } from "../../worker/protocol/model-info.ts";
import { agreement, fromSurroundings, rankShare } from "./measures.ts";

/** Energy that kept tokens and directions must hold. */
const TOKEN_ENERGY = 0.9;
const RANK_ENERGY = 0.96;

/** Of one scale: what its tensors show, and its latent [cells, channels]. */
export interface TappedScale
	extends Pick<ScaleObservation, "conditional" | "unconditional" | "detail" | "highFrequency" | "ranks"> {
	latent: Float32Array<ArrayBuffer>;
}

/** A tap for one picture with every scale in full. */
export class TapReader implements Tap {
	readonly #model: LoadedModel;
	readonly #scales: TappedScale[];
	/** By name, until the tensor has come. */
	readonly #readers = new Map<string, (tensor: TappedTensor) => void>();

	/** `ranks`: whether to measure those of the chunks, which takes long. */
	constructor(model: LoadedModel, grids: Schedule["grids"], ranks: boolean) {
		this.#model = model;
		this.#scales = grids.map(() => ({
			conditional: 0,
			unconditional: 0,
			detail: 0,
			highFrequency: 0,
			ranks: [],
			latent: new Float32Array(),
		}));
		for (const [scale, grid] of grids.entries()) this.#scale(scale, grid, ranks);
	}

	wants(name: string): boolean {
		return this.#readers.has(name);
	}

	take(tensor: TappedTensor): void {
		this.#readers.get(tensor.name)?.(tensor);
		this.#readers.delete(tensor.name);
	}

	/** By scale, once the picture is finished. Throws where a tensor did not come. */
	read(): readonly TappedScale[] {
		const missing = [...this.#readers.keys()];
		if (missing.length > 0) {
			const { id, family } = this.#model.info;
			throw new Error(
				`Model ${id} did not give ${missing.slice(0, 3).join(", ")}${missing.length > 3 ? " and others" : ""}, ` +
					`which calibrate measures by. The names of family ${family} must be those that its graph taps.`,
			);
		}
		return this.#scales;
	}

	#scale(scale: number, grid: readonly [number, number], ranks: boolean): void {
		const { names, info } = this.#model;
		const at = this.#scales[scale];
		const on = (name: string, read: (floats: Float32Array, shape: number[]) => void) =>
			this.#readers.set(`s${scale}.${name}`, ({ data, shape }) => read(data as Float32Array, shape));
		on(names.input, (x, shape) => {
			const width = shape[2];
			at.detail = shareHolding(fromSurroundings(firstRow(x, shape), grid[1], width), TOKEN_ENERGY);
		});
		on(names.latent, (latent, [channels, height, width]) => {
			at.latent = channelsLast(latent, height * width);
			at.highFrequency = highFrequencyShare(at.latent, [height, width], grid, channels);
		});
		const pair: { rows?: Float32Array; mixed?: Float32Array } = {};
		const compare = () => {
			const { rows, mixed } = pair;
			if (!rows || !mixed) return;
			const logits = mixed.length / (grid[0] * grid[1]);
			// Two a bit, or one for each code of a vocabulary.
			const values = logits === 2 * info.bitsPerToken ? 2 : logits;
			at.conditional = agreement(rows.subarray(0, mixed.length), mixed, values);
			at.unconditional = agreement(rows.subarray(rows.length - mixed.length), mixed, values);
		};
		on(names.logits, (rows) => {
			pair.rows = rows;
			compare();
		});
		on(names.mixed, (mixed) => {
			pair.mixed = mixed;
			compare();
		});
		for (const [chunk, [, end]] of ranks ? info.chunks.entries() : [])
			on(`blk${end - 1}.out`, (x, shape) => {
				at.ranks[chunk] = rankShare(firstRow(x, shape), shape[2], RANK_ENERGY);
			});
	}
}

/** The conditional row of [rows, tokens, width]. */
const firstRow = (x: Float32Array, [, tokens, width]: readonly number[]) => x.subarray(0, tokens * width);
