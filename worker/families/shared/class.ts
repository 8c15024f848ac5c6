import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Scope } from "../../../kernels/gpu/scope.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { silu } from "../../../kernels/pointwise/activation.ts";
import { gatherRows } from "../../../kernels/tokens/gather.ts";
import type { GraphInput, PictureView } from "../family.ts";
import { bothRows, type ConditionTables, startRows } from "./ada-ln.ts";
import { ROWS } from "./guidance.ts";

export interface ClassConfig {
	depth: number;
	width: number;
	/** One more embedding stands for none of them. */
	classes: number;
	/** AdaLN: a map of the class for every block, or one for all with an offset by block. */
	adaln: "block" | "shared";
}

/** What the class gives every scale: its embedding as the start, and AdaLN's vectors for every block and the head. */
export function classConditioning(
	scope: Scope,
	{ config, facts: { startTokens }, weights }: GraphInput<ClassConfig>,
	tables: ConditionTables,
): (pass: Pass, picture: PictureView) => void {
	const { width, depth, classes, adaln } = config;
	/** For one picture: the embeddings, those through SiLU, AdaLN vectors. */
	const cond = scope.tensor("class", [ROWS, width]);
	const activated = scope.tensor("silu class", [ROWS, width]);
	const vectors = scope.tensor("AdaLN vectors", [ROWS, 6 * width]);
	const w = (name: string) => weights.get(`transformer.${name}`);
	return (pass, { ids: [label], slot, taps }) => {
		const linear = (name: string, n: number) => {
			const op = { x: activated, y: vectors, ...weights.linear(`transformer.${name}`), m: ROWS, k: width, n };
			matmul(pass, { ...op, label: name });
		};
		const { rows, first } = bothRows(pass, slot);
		// The class after the last one stands for none.
		const index = pass.table([label, classes]);
		gatherRows(pass, { x: w("class_emb.weight"), index, y: cond, count: ROWS, width, label: "class_emb" });
		taps.keep(pass, "cond_BD", cond, [ROWS, width]);
		startRows(pass, cond, slot, { startTokens, width, positions: w("pos_start"), start: tables.start });
		silu(pass, { x: cond, y: activated, count: ROWS * width, label: "silu class" });
		if (adaln === "shared") {
			linear("shared_ada_lin.1", 6 * width);
			taps.keep(pass, "shared_gss", vectors, [ROWS, 1, 6, width]);
		}
		for (let block = 0; block < depth; block++) {
			const name = `blocks.${block}`;
			if (adaln === "block") linear(`${name}.ada_lin.1`, 6 * width);
			const extra = adaln === "shared" ? { table: w(`${name}.ada_gss`), index: first } : undefined;
			const y = tables.modulation[block];
			gatherRows(pass, { x: vectors, y, ...rows, width: 6 * width, extra, label: `${name} modulation` });
		}
		linear("head_nm.ada_lin.1", 2 * width);
		gatherRows(pass, { x: vectors, y: tables.head, ...rows, width: 2 * width, label: "head modulation" });
	};
}
