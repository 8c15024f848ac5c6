/** Guidance rows: the conditional and the unconditional half of a picture, in the order of every conditioning table. */
import type { RunStep } from "../../protocol/plan.ts";

export const COND = 0;
export const UNCOND = 1;
export const ROWS = 2;

/** Row of a picture's conditional or unconditional half in the conditioning tables, which go by slot. */
export const condOf = (slot: number, row: number): number => slot * ROWS + row;

/** Guidance rows a step computes, in the order of the batch. */
export const rowsOf = ({ rows }: RunStep): number[] =>
	rows === "both" ? [COND, UNCOND] : rows === "cond" ? [COND] : [UNCOND];
