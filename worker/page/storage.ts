/**
 * What the browser keeps for the page between visits, or until the tab is closed. A browser that blocks site data
 * throws at the mere mention of it: then nothing is kept, and the page works all the same.
 */
type Place = "localStorage" | "sessionStorage";

export function stored(place: Place, name: string): string | undefined {
	return allowed(() => globalThis[place].getItem(name)) ?? undefined;
}

/** `text`: undefined to keep nothing any more. */
export function store(place: Place, name: string, text: string | undefined): void {
	allowed(() => {
		if (text === undefined) globalThis[place].removeItem(name);
		else globalThis[place].setItem(name, text);
	});
}

/** What `use` makes of it; undefined where the browser does not allow it. */
export function allowed<T>(use: () => T): T | undefined {
	try {
		return use();
	} catch {
		return undefined;
	}
}
