/**
 * Every scale in full: what the published model computes. Stages are for show only; an uncalibrated schedule is cut in
 * thirds.
 */
import { definePolicy } from "./policy.ts";

export const exact = definePolicy(
	{ name: "exact", title: "Every scale in full, as the model was published" },
	({ grids, full }) => ({ steps: grids.map((_, scale) => full(scale)) }),
);
