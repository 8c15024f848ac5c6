/** What can be wrong with a command line, said in one message and one hint. */

/** A command line, or a variable of the environment, that cannot be understood. */
export class UsageError extends Error {
	override name = "UsageError";
	/** What to do instead; left out: look at the command's help. */
	readonly hint: string | undefined;

	constructor(message: string, hint?: string) {
		super(message);
		this.hint = hint;
	}
}

/** One of the choices of an option, which is named without its dashes. */
export function oneOf<T extends string>(option: string, text: string, choices: readonly T[]): T {
	if (choices.includes(text as T)) return text as T;
	throw new UsageError(
		`--${option} must be one of ${choices.join(", ")}, not ${shown(text)}.`,
		didYouMean(text, choices),
	);
}

/** A whole number within [low, high]. */
export function whole(name: string, text: string, low: number, high: number): number {
	const value = Number(text);
	if (!/^\d+$/.test(text) || value < low || value > high)
		throw new UsageError(`--${name} must be a whole number from ${low} to ${high}, not ${shown(text)}.`);
	return value;
}

/** Such a text as a file's name or an argument in an answer: never empty, never endless. */
export const shown = (text: string): string =>
	text.trim() === "" ? "empty" : text.length > 80 ? `${text.slice(0, 77)}...` : text;

/** A hint at the choice that is nearest to what was typed; undefined where none is near. */
export function didYouMean(text: string, choices: readonly string[]): string | undefined {
	const near = choices
		.map((choice) => ({ choice, edits: editDistance(text.toLowerCase(), choice.toLowerCase()) }))
		.filter(({ choice, edits }) => edits <= 3 && edits < 0.6 * Math.max(text.length, choice.length))
		.sort((a, b) => a.edits - b.edits);
	return near.length > 0 ? `Did you mean ${near[0].choice}?` : undefined;
}

/** Insertions, deletions and substitutions between two words (Levenshtein 1966). */
function editDistance(a: string, b: string): number {
	let row = Array.from({ length: b.length + 1 }, (_, j) => j);
	for (let i = 1; i <= a.length; i++) {
		const next = [i];
		for (let j = 1; j <= b.length; j++)
			next[j] = Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
		row = next;
	}
	return row[b.length];
}
