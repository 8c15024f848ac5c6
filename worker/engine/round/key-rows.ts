/** Which cached keys the rows of a batch see in a block, by the tensors that those lie in. */
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { NOWHERE, type Row, type RowTable, rowTable } from "../../../kernels/tokens/rows.ts";
import type { KeyRows } from "../../families/family.ts";
import type { KeyValueStore } from "./key-value-store.ts";
import { COND, UNCOND } from "./kv-plan.ts";
import { type Place, rowsIn } from "./layout.ts";
import { storesKeys } from "./picture.ts";
import type { RoundContext } from "./round.ts";
import { groupRows } from "./workspace.ts";

/** Rows whose keys lie in the same bank of the store, counted from its first. */
export interface BankRows {
	bank: number;
	rows: RowTable;
	/** Where the bank's keys are packed: what is unpacked for the rows, one after the other, and packed of theirs. */
	moves?: Moves;
}

/** `key`: of the bank; `to`: where it is read; `token`: of the rows'. */
interface Moves {
	read: readonly { key: number; count: number; to: number }[];
	stored: readonly { token: number; count: number; key: number }[];
}

/** Tables of a block's rows: all of them, with their own keys, with their text, and with no prompt's text. */
export interface BlockRows {
	self: RowTable;
	groups: readonly (BankRows & { at: number })[];
	cross: readonly BankRows[];
	blank?: readonly BankRows[];
}

/**
 * Tables of one block: the rows with the cached keys they see and where their own are stored, the same rows with their
 * text, and, where any is guided by it, the same rows with no prompt's text.
 */
export function blockRows(
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
		return [...new Set(textBanks)].flatMap((bank) => {
			const own = rows.filter((_, i) => textBanks[i] === bank);
			return byKeys(own, store).map((some) => ({ bank, ...tableOf(pass, some, store, self.tokenRow) }));
		});
	};
	return {
		self,
		groups: groupsOf(pass, self, banks, groupRows(graph.shape, work.need, gpu.bindingBytes), store),
		cross: text((row) => row),
		...(places.some(({ part }) => part.step.textGuidance !== undefined) && { blank: text(() => UNCOND) }),
	};
}

/** Keys that rows read together, at most. */
const mostKeys = ({ unpacked }: KeyValueStore): number => unpacked?.shape[0] ?? Infinity;

/** Rows in lists of as many as are read together. */
function byKeys(rows: readonly Row[], store: KeyValueStore): Row[][] {
	const lists: Row[][] = [];
	let held = Infinity;
	for (const row of rows) {
		held += row.keys;
		if (lists.length > 0 && held <= mostKeys(store)) lists[lists.length - 1].push(row);
		else {
			lists.push([row]);
			held = row.keys;
		}
	}
	return lists;
}

/**
 * Rows in groups of neighbours whose keys lie in one bank, each of at most so many tokens, and keys that are read
 * together, or of one row.
 */
function groupsOf(
	pass: Pass,
	all: RowTable,
	banks: readonly number[],
	most: number,
	store: KeyValueStore,
): BlockRows["groups"] {
	const groups: { at: number; tokens: number; keys: number; bank: number; rows: Row[] }[] = [];
	for (const [i, row] of all.rows.entries()) {
		const last = groups[groups.length - 1];
		const bank = banks[i];
		const joins =
			last && last.bank === bank && last.tokens + row.tokens <= most && last.keys + row.keys <= mostKeys(store);
		const group = joins ? last : { at: row.token, tokens: 0, keys: 0, bank, rows: [] };
		if (!joins) groups.push(group);
		group.rows.push({ ...row, token: row.token - group.at });
		group.tokens += row.tokens;
		group.keys += row.keys;
	}
	if (groups.length === 1 && !store.unpacked) return [{ at: 0, bank: groups[0].bank, rows: all }];
	return groups.map(({ at, bank, rows }) => ({
		at,
		bank,
		...tableOf(pass, rows, store, groups.length === 1 ? all.tokenRow : undefined),
	}));
}

/** The table of rows of one bank, which see their keys where they are read. */
function tableOf(
	pass: Pass,
	rows: readonly Row[],
	{ unpacked }: KeyValueStore,
	tokenRow?: RowTable["tokenRow"],
): Pick<BankRows, "rows" | "moves"> {
	if (!unpacked) return { rows: rowTable(pass, rows, tokenRow) };
	let keys = 0;
	const read = rows.map(({ key, keys: count }) => ({ key, count, to: (keys += count) - count }));
	const stored = rows
		.filter(({ append }) => append !== NOWHERE)
		.map(({ token, tokens, append }) => ({ token, count: tokens, key: append }));
	const moved = rows.map((row, i) => ({ ...row, key: read[i].to, append: NOWHERE }));
	return { rows: rowTable(pass, moved, tokenRow), moves: { read, stored } };
}

/** The rows with the tensor of a block that they read. */
export function heldRows<T extends BankRows>(store: KeyValueStore, block: number, each: T): T & KeyRows {
	const { bank, moves } = each;
	const { unpacked } = store;
	if (!moves || !unpacked) return { ...each, kv: store.tensor(block, bank) };
	return {
		...each,
		kv: unpacked,
		packed: {
			unpack: (pass) => {
				for (const { key, count, to } of moves.read) store.unpack(pass, { block, bank, key, count }, unpacked, to);
			},
			pack: (pass, qkv) => {
				const [, stride] = qkv.shape;
				const at = stride / 3;
				for (const { token, count, key } of moves.stored)
					store.pack(pass, { block, bank, key, count }, { x: qkv, from: token, stride, at });
			},
		},
	};
}
