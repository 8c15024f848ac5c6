/** What is done otherwise than it was asked, said in a `warning` header; a strict edge refuses it instead. */
import { invalid } from "./errors.ts";

/** Of a header: the words of a long prompt are named up to here. */
const MAX_CHARS = 500;
const MOST = 20;

export class Warnings {
	readonly #strict: boolean;
	readonly #messages: string[] = [];

	constructor({ STRICT }: { STRICT: boolean }) {
		this.#strict = STRICT;
	}

	/** A field that is not honoured as it was sent. Throws a 400 that names it where the edge is strict. */
	departs(param: string, message: string): void {
		if (this.#strict) throw invalid(param, message);
		this.say(message);
	}

	/** Something to know that is no departure from what was asked. */
	say(message: string): void {
		this.#messages.push(message);
	}

	/** Words that the model has never seen. */
	unknownWords(words: readonly string[] | undefined): void {
		if (!words || words.length === 0) return;
		const shown = words.slice(0, MOST).join(", ");
		const more = words.length > MOST ? ` and ${words.length - MOST} more` : "";
		this.say(`the model does not know these words of the prompt: ${shown}${more}`);
	}

	/** Code 299 of RFC 7234, "miscellaneous persistent warning", a value each; empty where there is nothing to say. */
	headers(): Record<string, string> {
		if (this.#messages.length === 0) return {};
		return { warning: this.#messages.map((message) => `299 firstlight "${headerText(message)}"`).join(", ") };
	}
}

/** Headers are ASCII: other characters are percent-encoded, and quotes are none. */
const headerText = (text: string): string =>
	text
		.slice(0, MAX_CHARS)
		.toWellFormed()
		.replace(/["\\]/g, "'")
		.replace(/[^\x20-\x7e]+/g, encodeURIComponent);
