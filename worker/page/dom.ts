/** Elements of the page by id, and new ones. */
export function $<T extends HTMLElement = HTMLElement>(id: string): T {
	const element = document.getElementById(id);
	if (!element) throw new Error(`The page has no #${id}.`);
	return element as T;
}

/**
 * A new element: attributes by name, `on*` as listeners, `--*` as properties of its style (a style attribute would be
 * refused by the page's policy). False and undefined set nothing.
 */
export function el<K extends keyof HTMLElementTagNameMap>(
	tag: K,
	attributes: Record<string, string | number | boolean | undefined | ((event: Event) => void)> = {},
	...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
	const element = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes)) {
		if (typeof value === "function") element.addEventListener(name.slice(2), value);
		else if (name.startsWith("--")) element.style.setProperty(name, String(value));
		else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : String(value));
	}
	element.append(...children);
	return element;
}

/** Sets text, parts of which may be elements, only where it changes, so that a live region does not say it twice. */
export function setText(element: Element, ...parts: (string | Element)[]): void {
	const text = parts.map((part) => (typeof part === "string" ? part : part.textContent)).join("");
	if (element.textContent !== text) element.replaceChildren(...parts);
}

/** Whether the key is part of a word that is still being put together, as with an input method. */
export function composing({ isComposing, keyCode }: KeyboardEvent): boolean {
	// Safari ends the composition before the key that ended it, and tells it by this code alone.
	return isComposing || keyCode === 229;
}
