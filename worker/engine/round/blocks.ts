import type { Pass } from "../../../kernels/gpu/pass.ts";
import { NOWHERE, type Row, type RowTable, rowTable } from "../../../kernels/tokens/rows.ts";
import type { BlockContext } from "../../families/family.ts";
import { cacheByHead } from "../../families/shared/taps.ts";
import { crossBoundary, endSpans } from "./boundary.ts";
import { COND, UNCOND } from "./kv-plan.ts";
import { type Layout, type Place, rowsIn } from "./layout.ts";
import { storesKeys } from "./picture.ts";
import type { RoundContext } from "./round.ts";
import { groupRows } from "./workspace.ts";

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
	const held = <T extends BankRows>(rows: readonly T[]) =>
		rows.map((each) => ({ ...each, kv: store.tensor(index, each.bank) }));
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

/** Rows whose keys lie in the same bank of the store, counted from its first. */
interface BankRows {
	bank: number;
	rows: RowTable;
}

/** Tables of a block's rows: all of them, with their own keys, with their text, and with no prompt's text. */
interface BlockRows {
	self: RowTable;
	groups: readonly (BankRows & { at: number })[];
	cross: readonly BankRows[];
	blank?: readonly BankRows[];
}

/**
 * Tables of one block: the rows with the cached keys they see and where their own are stored, the same rows with their
 * text, and, where any is guided by it, the same rows with no prompt's text.
 */
function blockRows(
	{ gpu, pass, graph, store, work }: RoundContext,
	places: readonly Place[],
	block: number,
): BlockRows {
	const own = rowsIn(places, ({ part, length, span }, row) => {
		const { start, used } = part.picture.ranges[row][block];
		const key = start % store.bank;
		return {
			rope: graph.ropeAt(part.picture, part.scale),
			key,
			keys: used,
			append: storesKeys(part.picture, row, part.scale) ? key + used : NOWHERE,
			selected: span?.reduction.rope === "kept" ? 1 + part.first + part.rows.indexOf(row) * length : 0,
		};
	});
	const banks = places.flatMap(({ part: { picture, rows } }) =>
		rows.map((row) => store.bankOf(picture.ranges[row][block].start)),
	);
	const self = rowTable(pass, own);
	const textBanks = places.flatMap(({ part: { picture, rows } }) =>
		rows.map(() => store.bankOf(picture.context.keys[block])),
	);
	const text = (of: (row: number) => number): BankRows[] => {
		const rows = rowsIn(places, ({ part: { picture } }, row) => ({
			key: (picture.context.keys[block] % store.bank) + (of(row) === COND ? 0 : picture.context.counts[COND]),
			keys: picture.context.counts[of(row)],
		}));
		return [...new Set(textBanks)].map((bank) => ({
			bank,
			rows: rowTable(
				pass,
				rows.filter((_, i) => textBanks[i] === bank),
				self.tokenRow,
			),
		}));
	};
	return {
		self,
		groups: groupsOf(pass, self, banks, groupRows(graph.shape, work.need, gpu.bindingBytes)),
		cross: text((row) => row),
		...(places.some(({ part }) => part.step.textGuidance !== undefined) && { blank: text(() => UNCOND) }),
	};
}

/** Rows in groups of neighbours whose keys lie in one bank, each of at most so many tokens or of one row. */
function groupsOf(pass: Pass, all: RowTable, banks: readonly number[], most: number): BlockRows["groups"] {
	const groups: { at: number; tokens: number; bank: number; rows: Row[] }[] = [];
	for (const [i, row] of all.rows.entries()) {
		const last = groups[groups.length - 1];
		const bank = banks[i];
		const joins = last && last.bank === bank && last.tokens + row.tokens <= most;
		const group = joins ? last : { at: row.token, tokens: 0, bank, rows: [] };
		if (!joins) groups.push(group);
		group.rows.push({ ...row, token: row.token - group.at });
		group.tokens += row.tokens;
	}
	if (groups.length === 1) return [{ at: 0, bank: groups[0].bank, rows: all }];
	return groups.map(({ at, bank, rows }) => ({ at, bank, rows: rowTable(pass, rows) }));
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
		// The ranges of the rows lie apart.
		const stretches = rows.map((row) => {
			const { start, used } = picture.ranges[row][block];
			const { tensor: x, key } = store.at(block, start);
			return { x, from: key * 2 * width, count: used * 2 * width };
		});
		const { used } = picture.ranges[rows[0]][block];
		const starts = rows.map((_, i) => i * used);
		picture.taps.keepAll(pass, name, stretches, {
			view: (data) => cacheByHead(data, starts, used, heads, width, at),
			shape: [rows.length, heads, used, width / heads],
		});
	}
}
