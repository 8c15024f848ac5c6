/**
 * DiverseAR (arXiv 2512.02931): models that choose among few values, bits above all, are too sure of them, and seeds of
 * one prompt look alike. Until fidelity begins, each scale's temperature is raised until its likeliest values are only
 * so likely: few tokens, little cost.
 */
import { definePolicy } from "./policy.ts";

/** Mean probability of the likeliest value at the first scale and at the last one that is made diverse. */
const CONFIDENCE = [0.6, 0.8] as const;
const HOTTEST = 8;

export const diverse = definePolicy(
	{
		name: "diverse",
		title: "DiverseAR: early scales sampled at the temperature that leaves them room",
		paper: "arXiv 2512.02931",
		needs: {},
	},
	({ info: { sampling }, grids, fidelityFrom, full }) => {
		const last = Math.max(1, fidelityFrom - 1);
		const steps = grids.map((_, scale) => {
			if (scale >= fidelityFrom) return full(scale);
			const confidence = CONFIDENCE[0] + (CONFIDENCE[1] - CONFIDENCE[0]) * (scale / last);
			const between: [number, number] = [sampling.tau, Math.max(HOTTEST, sampling.tau)];
			return { ...full(scale), tau: { confidence, between } };
		});
		return { steps };
	},
);
