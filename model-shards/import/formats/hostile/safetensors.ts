/** Hostile safetensors files. Only headers are changed: the format has no checksum that would tell changed numbers. */
import { type Hostile, Random } from "./random.ts";

const HUGE = 16 * 2 ** 20;
type Entry = { dtype: unknown; shape: unknown; data_offsets: unknown };
type Header = Record<string, unknown>;

/** `count` files, made from the sound files of `seeds` by name. */
export function* hostileSafetensors(seeds: Record<string, Uint8Array>, count: number): Generator<Hostile> {
	const random = new Random(7);
	const names = Object.keys(seeds);
	const fixed = [...crafted(names[0], seeds[names[0]])];
	yield* fixed;
	for (let i = fixed.length; i < count; i++) {
		const seed = random.of(names);
		yield { ...mutated(random, i, seeds[seed]), seed };
	}
}

function split(file: Uint8Array): { text: string; header: Header; data: Uint8Array } {
	const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
	const text = new TextDecoder().decode(file.subarray(8, 8 + length));
	return { text, header: JSON.parse(text), data: file.subarray(8 + length) };
}

function join(header: string | Uint8Array, data: Uint8Array, length?: bigint): Uint8Array {
	const text = typeof header === "string" ? new TextEncoder().encode(header) : header;
	const file = new Uint8Array(8 + text.length + data.length);
	new DataView(file.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
	file.set(text, 8);
	file.set(data, 8 + text.length);
	return file;
}

function* crafted(seed: string, sound: Uint8Array): Generator<Hostile> {
	const { text, header, data } = split(sound);
	const refused = (name: string, bytes: Uint8Array): Hostile => ({ name, bytes, expect: "refused" });
	for (const length of [
		0n,
		1n,
		BigInt(sound.length),
		2n ** 31n,
		2n ** 53n,
		2n ** 63n,
		2n ** 64n - 1n,
		BigInt(HUGE) + 1n,
	])
		yield refused(`header of ${length}`, join(text, data, length));
	yield {
		name: "header padded with 15 MiB of spaces",
		bytes: join(text + " ".repeat(15 * 2 ** 20), data),
		expect: "harmless",
		seed,
	};
	yield refused("header of 17 MiB", join(text + " ".repeat(HUGE + 2 ** 20), data));
	yield refused("arrays without end", join("[".repeat(HUGE), data));
	yield refused("objects without end", join('{"a":'.repeat(3_000_000), data));
	yield refused("quotes", join('"'.repeat(HUGE - 1), data));
	yield refused("backslashes", join(`{"${"\\".repeat(HUGE - 8)}":1}`, data));
	const empty = Array.from({ length: 200_000 }, (_, i) => `"${i}":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`);
	yield refused("200,000 empty tensors", join(`{${empty.join()}}`, new Uint8Array(0)));
	yield refused(
		"a million sides",
		join(`{"a":{"dtype":"F32","shape":[${"1,".repeat(1e6)}1],"data_offsets":[0,4]}}`, new Uint8Array(4)),
	);
	yield refused(
		"a long name of an unknown type",
		join(JSON.stringify({ ["n".repeat(5e6)]: { dtype: "X", shape: [], data_offsets: [0, 4] } }), new Uint8Array(4)),
	);
	yield refused("metadata of objects", join(JSON.stringify({ ...header, __metadata__: { a: { b: "c" } } }), data));
	yield refused("metadata in a list", join(JSON.stringify({ ...header, __metadata__: ["a"] }), data));
	for (const whole of [
		"",
		"[]",
		"null",
		"1",
		'"a"',
		"{",
		`${text}}`,
		`\ufeff${text}`,
		`${text.slice(0, -1)},}`,
		text.replace(/,/, ",,"),
		text.replace('"', "'"),
	])
		yield refused(`header ${JSON.stringify(whole.slice(0, 20))}`, join(whole, data));
	yield refused("header that is no UTF-8", join(new Uint8Array(64).fill(0xff), data));
	yield refused("every tensor twice", join(`${text.slice(0, -1)},${text.slice(1)}`, data));
	yield {
		name: "a tensor called __proto__",
		bytes: join(text.replace(/"[^"]+"/, '"__proto__"'), data),
		expect: "refused",
	};
	const [first] = Object.keys(header).filter((name) => name !== "__metadata__");
	const entry = header[first] as Entry;
	const [from, to] = entry.data_offsets as [number, number];
	const edits: Partial<Entry>[] = [
		{ shape: [2 ** 32, 2 ** 32] },
		{ shape: [Number.MAX_SAFE_INTEGER, 2] },
		{ shape: [1e308] },
		{ shape: [-1] },
		{ shape: [1.5] },
		{ shape: ["5"] },
		{ shape: 5 },
		{ shape: null },
		{ shape: [] },
		{ data_offsets: [to, from] },
		{ data_offsets: [from, to, to] },
		{ data_offsets: [from] },
		{ data_offsets: [-4, to - from - 4] },
		{ data_offsets: [2 ** 53, 2 ** 53 + to] },
		{ data_offsets: [1e300, 1e300] },
		{ data_offsets: [from + 4, to + 4] },
		{ data_offsets: "0,4" },
		{ data_offsets: [null, null] },
		{ dtype: "f32" },
		{ dtype: "F4" },
		{ dtype: "__proto__" },
		{ dtype: "toString" },
		{ dtype: 32 },
		{ dtype: ["F32"] },
		{ dtype: "F64" },
		{ dtype: "" },
	];
	for (const edit of edits)
		yield refused(
			`${first} with ${JSON.stringify(edit)}`,
			join(JSON.stringify({ ...header, [first]: { ...entry, ...edit } }), data),
		);
	yield refused(
		"numbers beyond every number",
		join(text.replace(/"data_offsets":\[\d+/, '"data_offsets":[1e999'), data),
	);
}

/** Cuts, more bytes behind, structure changed in a place of the header. */
function mutated(random: Random, i: number, sound: Uint8Array): Omit<Hostile, "seed"> {
	const { text, data } = split(sound);
	const structural = [...text.matchAll(/[{}[\]:,"0-9]/g)].map(({ index }) => index);
	const at = random.of(structural);
	switch (i % 4) {
		case 0: {
			const end = random.below(sound.length);
			return { name: `cut at ${end}`, bytes: sound.slice(0, end), expect: "refused" };
		}
		case 1: {
			const more = 1 + random.below(100);
			return {
				name: `${more} bytes behind`,
				bytes: new Uint8Array([...sound, ...new Uint8Array(more)]),
				expect: "refused",
			};
		}
		case 2: {
			const other = random.of([...'{}[]:,"0\u0000'].filter((char) => char !== text[at]));
			return {
				name: `${JSON.stringify(other)} at ${at}`,
				bytes: join(text.slice(0, at) + other + text.slice(at + 1), data),
				expect: "harmless",
			};
		}
		default:
			return {
				name: `header without ${at}`,
				bytes: join(text.slice(0, at) + text.slice(at + 1), data),
				expect: "harmless",
			};
	}
}
