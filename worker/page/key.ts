/**
 * The API key of whoever uses the page, where its edge asks for one: in memory, or where that is wished for until the
 * tab is closed. It goes to the edge in a header alone, and is never in an address, in history or in what is copied.
 */
import { $ } from "./dom.ts";
import { store, stored } from "./storage.ts";

const STORED = "api-key";

let held = stored("sessionStorage", STORED);
/** What is being asked for, once for all who want it. */
let asking: Promise<boolean> | undefined;
/** Whether the person would rather not: nothing asks again by itself. */
let declined = false;

export const key = (): string | undefined => held;

/** Opens the way for a person to give a key unasked. `changed`: there is another one now, or none. */
export function offerKey(changed: () => void): void {
	$("key-open").addEventListener("click", async () => {
		const before = held;
		await ask("Only an edge that asks for a key needs one.");
		if (held !== before) changed();
	});
}

/** A person has asked for something: they may be asked for their key, whatever they said before. */
export function askAgain(): void {
	declined = false;
}

/** The edge refused the key, or that there was none. Whether there is another one now. */
export async function wantKey(refused: string | undefined): Promise<boolean> {
	if (held !== refused) return true;
	if (declined) return false;
	return await ask(
		refused === undefined
			? "This edge draws for those who have a key. Whoever runs it gives them out."
			: "The key is wrong, or not good any more. Check it, or ask whoever runs this edge for another.",
	);
}

function ask(why: string): Promise<boolean> {
	asking ??= opened(why).finally(() => (asking = undefined));
	return asking;
}

async function opened(why: string): Promise<boolean> {
	const dialog = $<HTMLDialogElement>("key-dialog");
	const [field, kept] = [$<HTMLInputElement>("key"), $<HTMLInputElement>("key-kept")];
	$("key-why").textContent = why;
	$("key-forget").hidden = held === undefined;
	kept.checked = stored("sessionStorage", STORED) !== undefined;
	dialog.returnValue = "";
	dialog.showModal();
	field.focus();
	await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
	const given = field.value.trim();
	// Not left where an extension or a screenshot finds it.
	field.value = "";
	if (dialog.returnValue === "forget") hold(undefined, false);
	const used = dialog.returnValue === "use" && given !== "";
	if (used) hold(given, kept.checked);
	declined = !used;
	return used;
}

function hold(given: string | undefined, keep: boolean): void {
	held = given;
	store("sessionStorage", STORED, keep ? given : undefined);
}
