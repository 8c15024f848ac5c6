/** What JSON.parse lets pass: names that stand twice in an object (it keeps the last), and nesting without end. */

/** Far longer than any tensor's; a name is unescaped and kept to be compared with the others. */
const MAX_NAME = 65_536;

/**
 * A look over JSON text before it is parsed: the first problem in words that follow "it", or null. Other errors are
 * left to JSON.parse.
 */
export function jsonProblem(text: string, { maxDepth, maxKeys }: { maxDepth: number; maxKeys: number }): string | null {
	const objects: (Set<string> | null)[] = [];
	let keys = 0;
	for (let at = 0; at < text.length; at++) {
		switch (text.charCodeAt(at)) {
			case 0x7b: // {
			case 0x5b: // [
				if (objects.length === maxDepth) return `is nested deeper than ${maxDepth}`;
				objects.push(text[at] === "{" ? new Set() : null);
				break;
			case 0x7d: // }
			case 0x5d: // ]
				objects.pop();
				break;
			case 0x22: {
				const end = endOfString(text, at);
				if (end < 0) return null;
				const names = objects.at(-1);
				if (names && isKey(text, end)) {
					if (end - at > MAX_NAME) return `has a name of ${end - at} characters, more than ${MAX_NAME}`;
					const name = plain(text.slice(at, end));
					if (names.has(name)) return `has ${name.slice(0, 200)} twice`;
					if (++keys > maxKeys) return `has more than ${maxKeys} names`;
					names.add(name);
				}
				at = end - 1;
			}
		}
	}
	return null;
}

/** The index behind the closing quote, or -1. */
function endOfString(text: string, start: number): number {
	for (let at = start + 1; ; at++) {
		at = text.indexOf('"', at);
		if (at < 0) return -1;
		let slashes = 0;
		while (text.charCodeAt(at - 1 - slashes) === 0x5c) slashes++;
		if (slashes % 2 === 0) return at + 1;
	}
}

function isKey(text: string, at: number): boolean {
	while (/\s/.test(text.charAt(at))) at++;
	return text.charAt(at) === ":";
}

/** Escapes undone, so that "a" and "\u0061" are the same name. */
function plain(quoted: string): string {
	if (!quoted.includes("\\")) return quoted;
	try {
		return JSON.stringify(JSON.parse(quoted));
	} catch {
		return quoted;
	}
}
