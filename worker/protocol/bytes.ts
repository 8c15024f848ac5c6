/** How many bytes people say. */
const UNITS = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 } as const;

/** 64KiB, 1.5GiB or plain bytes; undefined for what is nothing of the kind, or none. */
export function parseBytes(text: string): number | undefined {
	const [, number, unit = "B"] = /^(\d+(?:\.\d+)?) *([KMG]iB|B)?$/.exec(text.trim()) ?? [];
	const value = Math.floor(Number(number) * UNITS[unit as keyof typeof UNITS]);
	return value > 0 && Number.isSafeInteger(value) ? value : undefined;
}
