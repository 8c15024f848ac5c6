import type { Tensor } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { seekTemperature } from "../../../kernels/sample/temperature.ts";
import { gatherRows } from "../../../kernels/tokens/gather.ts";
import { rowTable } from "../../../kernels/tokens/rows.ts";
import { spreadSelected } from "../../../kernels/tokens/selected.ts";
import type { Graph } from "../../families/family.ts";
import { codeWords } from "../codes.ts";
import { cellTokens, type Part, rowsIn } from "./batch.ts";
import { COND, UNCOND } from "./kv-plan.ts";
import { keptRows, skipsOthers } from "./spans.ts";
import type { Workspace } from "./workspace.ts";

/**
 * Head, guidance and sampling: into `work.codes`, where the parts say. `spare`: first of the places for codes of kept
 * tokens alone.
 */
export function sampleCodes(pass: Pass, graph: Graph, work: Workspace, all: readonly Part[], spare: number): void {
	if (all.length === 0) return;
	const { x, parts } = onCells(pass, graph, work, all);
	const outOf = ({ span, cell, sampledAt }: Part) => (skipsOthers(span) ? spare + cell : sampledAt);
	const { codes, names } = graph;
	graph.head(pass, { x, work, rows: rowTable(pass, rowsIn(parts)) });
	const rows = parts.map((part) => {
		const {
			job,
			run: { guidance, tau, topK, topP },
			scale,
			length,
			rows,
			at,
		} = part;
		return {
			cond: at + Math.max(0, rows.indexOf(COND)) * length,
			uncond: at + Math.max(0, rows.indexOf(UNCOND)) * length,
			tokens: length,
			out: outOf(part),
			guidance,
			topK,
			topP,
			seed: job.seed,
			scale,
			...(typeof tau === "number" ? { tau } : { tau: tau.between[0], temperature: tau }),
		};
	});
	const taus = rows.some((row) => "temperature" in row) ? work.taus : undefined;
	if (taus)
		seekTemperature(pass, {
			logits: work.logits,
			taus,
			choices: codes.choices,
			values: codes.logits / codes.choices,
			rows,
			label: "temperatures",
		});
	codes.sample(pass, { logits: work.logits, mixed: work.mixed, codes: work.codes, taus, rows });
	for (const part of parts) {
		const { job, scale, length, rows, at } = part;
		job.taps.keep(pass, `s${scale}.${names.logits}`, work.logits, [rows.length, length, codes.logits], {
			from: at * codes.logits,
		});
		job.taps.keep(pass, `s${scale}.${names.mixed}`, work.mixed, [1, length, codes.logits], {
			from: outOf(part) * codes.logits,
		});
	}
	const short = keptRows(graph, parts, ({ sampledAt }) => sampledAt, outOf);
	if (short.length > 0)
		spreadSelected(pass, {
			x: work.codes,
			positions: work.positions,
			words: codeWords(codes.bits),
			rows: short,
			label: "spread codes",
		});
}

/**
 * The tokens that stand for cells, and the parts laid out over them alone: all tokens but where a text comes before the
 * first cell.
 */
function onCells(
	pass: Pass,
	{ shape: { width } }: Graph,
	work: Workspace,
	parts: readonly Part[],
): { x: Tensor; parts: readonly Part[] } {
	if (parts.every(({ length, codes }) => length <= codes)) return { x: work.x[0], parts };
	const index = parts.flatMap((part) =>
		cellTokens(part).flatMap(({ token, tokens }) => Array.from({ length: tokens }, (_, i) => token + i)),
	);
	const x = work.block.attended;
	gatherRows(pass, {
		x: work.x[0],
		index: pass.table(index),
		y: x,
		count: index.length,
		width,
		label: "tokens of cells",
	});
	let at = 0;
	return {
		x,
		parts: parts.map((part) => {
			const length = Math.min(part.length, part.codes);
			return { ...part, at: (at += part.rows.length * length) - part.rows.length * length, length };
		}),
	};
}
