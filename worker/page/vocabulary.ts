/** What a model can draw, by the words it knows. */

export interface Word {
	text: string;
	from: number;
	to: number;
}

const segmenter = new Intl.Segmenter("en", { granularity: "word" });

/** Words, figures and signs of a text with their places; neither spaces nor punctuation. As the edge counts them. */
export function wordsOf(text: string): Word[] {
	return [...segmenter.segment(text)].flatMap(({ segment, index }) =>
		/[\p{L}\p{N}\p{S}]/u.test(segment) ? [{ text: segment, from: index, to: index + segment.length }] : [],
	);
}

/** Words of the text that are not among those the model knows, each with its place. */
export function unknownIn(text: string, known: ReadonlySet<string>): Word[] {
	return wordsOf(text).filter((word) => !known.has(word.text.toLowerCase()));
}

const COLOURS = "red orange yellow green blue purple pink brown black white grey gray".split(" ");
const COUNTS = "one two three four five six seven eight nine ten".split(" ");
const FORMS = "a an and the of to photo left right above below in on with".split(" ");

/** The words in groups that a person can take in; plurals stand behind their singular. */
export function groupsOf(words: readonly string[]): { name: string; words: string[] }[] {
	const all = new Set(words);
	const among = (list: readonly string[]) => list.filter((word) => all.has(word));
	const other = [...COLOURS, ...COUNTS, ...FORMS];
	const things = words.filter((word) => !other.includes(word) && !isPlural(word, all)).sort();
	return [
		{ name: "Things", words: things },
		{ name: "Colours", words: among(COLOURS) },
		{ name: "Counts", words: among(COUNTS) },
		{ name: "Other words", words: among(FORMS) },
	].filter(({ words }) => words.length > 0);
}

function isPlural(word: string, all: ReadonlySet<string>): boolean {
	return (
		(word.endsWith("s") && all.has(word.slice(0, -1))) ||
		(word.endsWith("es") && all.has(word.slice(0, -2))) ||
		(word.endsWith("ves") && (all.has(`${word.slice(0, -3)}f`) || all.has(`${word.slice(0, -3)}fe`)))
	);
}
