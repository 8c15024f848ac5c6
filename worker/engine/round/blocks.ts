import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import type { BlockContext } from "../../families/family.ts";
import { cacheByHead } from "../../families/shared/taps.ts";
import { crossBoundary, endSpans } from "./boundary.ts";
import { type BankRows, type BlockRows, blockRows, heldRows } from "./key-rows.ts";
import type { Layout, Place } from "./layout.ts";
import { storesKeys } from "./picture.ts";
import type { RoundContext } from "./round.ts";

/** Every sublayer of every block, with reduced spans begun and ended between them. */
export function runBlocks(context: RoundContext, full: Layout): Layout {
	const { pass, graph } = context;
	const { sublayers, names } = graph;
	const { depth } = graph.shape;
	let layout = full;
	let tables: Tables | undefined;
	for (let index = 0; index < depth; index++) {
		let view: { of: Layout; block: BlockContext } | undefined;
		for (const [i, { run }] of sublayers.entries()) {
			layout = crossBoundary(context, layout, index * sublayers.length + i);
			if (index + i === 0) tapStream(context, layout, names.input);
			if (view?.of !== layout) {
				tables = tablesOf(context, layout, index, tables);
				view = { of: layout, block: blockContext(context, tables, index) };
			}
			run(pass, view.block);
			if (i === 0) countStored(layout, index);
			layout = endSpans(context, layout, index * sublayers.length + i + 1, "sublayer");
		}
		tapStream(context, layout, `blk${index}.out`);
		for (const place of layout.places) tapKeys(context, place, index);
	}
	layout = crossBoundary(context, layout, depth * sublayers.length);
	tapStream(context, layout, "head_in");
	return layout;
}

/** Self attention has stored the keys of the rows that later scales read. */
function countStored({ places }: Layout, block: number): void {
	for (const { part, length } of places)
		for (const row of part.rows)
			if (storesKeys(part.picture, row, part.scale)) part.picture.ranges[row][block].used += length;
}

/** What blocks see of the batch as it is laid out now, the same as long as every row's keys lie at the same places. */
interface Tables {
	layout: Layout;
	/** By part and guidance row: first and count of its own keys, first of its picture's text. */
	keys: readonly number[];
	view: BlockRows & Pick<BlockContext, "selected" | "parts">;
}

/** Those of the block before where they are right for this one too. */
function tablesOf(context: RoundContext, layout: Layout, block: number, before: Tables | undefined): Tables {
	const { places } = layout;
	const keys: number[] = [];
	for (const { part } of places)
		for (const row of part.rows) {
			const { start, used } = part.picture.ranges[row][block];
			keys.push(start, used, part.picture.context.keys[block]);
		}
	if (before?.layout === layout && keys.every((key, i) => key === before.keys[i])) return before;
	const parts = places.map(({ part, at, length }) => ({
		taps: part.picture.taps,
		name: `s${part.scale}`,
		at,
		rows: part.rows.length,
		length,
		textGuidance: part.step.textGuidance ?? 1,
		scale: part.scale,
	}));
	const selected = places.some(({ span }) => span?.reduction.rope === "kept") ? context.work.positions : undefined;
	return { layout, keys, view: { ...blockRows(context, places, block), selected, parts } };
}

function blockContext({ work, store }: RoundContext, { layout, view }: Tables, index: number): BlockContext {
	const { self, groups, cross, blank, selected, parts } = view;
	const held = <T extends BankRows>(rows: readonly T[]) => rows.map((each) => heldRows(store, index, each));
	return {
		index,
		x: layout.x,
		work: work.block,
		self,
		groups: held(groups),
		cross: held(cross),
		blank: blank && held(blank),
		selected,
		parts,
	};
}

/** The residual stream of every part. */
function tapStream({ pass, graph }: RoundContext, { x, places }: Layout, name: string): void {
	const { width } = graph.shape;
	for (const { part, at, length } of places)
		part.picture.taps.keep(pass, `s${part.scale}.${name}`, x, [part.rows.length, length, width], { from: at * width });
}

function tapKeys({ pass, graph, store }: RoundContext, { part: { picture, scale, rows } }: Place, block: number): void {
	const { heads, width } = graph.shape;
	for (const [half, at] of [
		["k_cache", 0],
		["v_cache", width],
	] as const) {
		const name = `s${scale}.blk${block}.${half}`;
		if (!picture.taps.wants(name)) continue;
		const stretches = storedStretches(pass, store, picture, rows, block, width);
		const { used } = picture.ranges[rows[0]][block];
		const starts = rows.map((_, i) => i * used);
		picture.taps.keepAll(pass, name, stretches, {
			view: (data) => cacheByHead(data, starts, used, heads, width, at),
			shape: [rows.length, heads, used, width / heads],
		});
	}
}

/** Elements of a block's stored keys and values, whose ranges lie apart; unpacked where they are packed. */
function storedStretches(
	pass: Pass,
	store: RoundContext["store"],
	{ ranges }: Place["part"]["picture"],
	rows: readonly number[],
	block: number,
	width: number,
): { x: Tensor; from: number; count: number }[] {
	const held = rows.map((row) => ranges[row][block]);
	const most = held.reduce((sum, { used }) => sum + used, 0);
	const whole = store.unpacked && pass.scratch("keys and values to be tapped", [most, 2 * width]);
	let to = 0;
	return held.map(({ start, used }) => {
		const { tensor, key } = store.at(block, start);
		if (whole) store.unpack(pass, { block, bank: store.bankOf(start), key, count: used }, whole, to);
		const from = 2 * width * (whole ? to : key);
		to += used;
		return { x: whole ?? tensor, from, count: used * 2 * width };
	});
}
