/** What opens over the page: how it works, what the model draws, and the same from code. */
import { $, el } from "./dom.ts";
import type { Ask, Model } from "./edge.ts";
import { key } from "./key.ts";
import { type Code, codeOf } from "./share.ts";
import { groupsOf } from "./vocabulary.ts";

const DIALOGS: Record<string, string> = { how: "how", model: "model-dialog", code: "code-dialog" };

/** What the code in the dialog is to ask for. */
interface Wanted {
	ask: Ask;
	/** Its first scales are its own. */
	alone: boolean;
	size: { width: number; height: number } | undefined;
}

/** `model`: the one chosen. */
export function openDialogs(model: () => Model | undefined, wanted: () => Wanted): void {
	let code: Code = "curl";
	const drawCode = () => {
		const { ask, alone, size } = wanted();
		$("code").textContent = codeOf(ask, code, size, key() !== undefined);
		$("code-note").textContent = alone
			? "Any client of OpenAI's image API works; the seed makes the same picture again."
			: "This picture took its first scales from another one: the code makes the picture of its seed alone.";
		for (const tab of document.querySelectorAll<HTMLElement>("[data-code]"))
			tab.setAttribute("aria-pressed", String(tab.dataset.code === code));
	};
	/** The dialog beside which the press began that a click ends. */
	let pressed: HTMLDialogElement | undefined;
	document.addEventListener("pointerdown", (event) => (pressed = dialogBeside(event)));
	document.addEventListener("click", (event) => {
		const { target } = event;
		if (!(target instanceof Element)) return;
		const name = target.closest<HTMLElement>("[data-dialog]")?.dataset.dialog;
		if (name) {
			if (name === "model") drawModel(model());
			if (name === "code") drawCode();
			$<HTMLDialogElement>(DIALOGS[name]).showModal();
		}
		const tab = target.closest<HTMLElement>("[data-code]")?.dataset.code;
		if (tab) {
			code = tab as Code;
			drawCode();
		}
		// A click beside a dialog closes it, as one beside a menu does; but not with a key that was typed into it.
		const beside = dialogBeside(event);
		const typed = beside?.contains($("key")) && $<HTMLInputElement>("key").value !== "";
		if (beside && beside === pressed && !typed) beside.close();
		for (const menu of document.querySelectorAll<HTMLDetailsElement>("details.menu[open]"))
			if (!menu.contains(target) || target.closest(".sheet > button")) menu.open = false;
	});
	$("copy-code").addEventListener("click", async () => {
		try {
			await navigator.clipboard.writeText($("code").textContent ?? "");
			$("copy-code").textContent = "Copied";
		} catch {
			// Not over plain http, where there is no clipboard: then it can be copied by hand.
			getSelection()?.selectAllChildren($("code"));
			$("copy-code").textContent = "Not allowed: copy it by hand";
		}
		setTimeout(() => ($("copy-code").textContent = "Copy"), 1500);
	});
}

/** Of a press or click beside a dialog's box, on what lies around it, the dialog. */
function dialogBeside({ target, clientX, clientY }: MouseEvent): HTMLDialogElement | undefined {
	if (!(target instanceof HTMLDialogElement)) return undefined;
	const { left, right, top, bottom } = target.getBoundingClientRect();
	const within = clientX >= left && clientX <= right && clientY >= top && clientY <= bottom;
	return within ? undefined : target;
}

function drawModel(model: Model | undefined): void {
	if (!model) {
		$("model-text").textContent = "No model is there yet; it is being loaded.";
		return;
	}
	const { id, classes, vocabulary, schedules, defaultSchedule, family, blocks, digest, trades } = model;
	const { grids } = schedules[defaultSchedule];
	$("model-text").textContent =
		classes !== undefined
			? `${id} draws classes by their number, 0 to ${classes - 1}.`
			: vocabulary
				? `${id} knows these words. Others are ignored, and the page says so while you type.`
				: `${id} takes any text.`;
	$("model-words").replaceChildren(
		...groupsOf(vocabulary ?? []).flatMap(({ name, words }) => [
			el("h3", {}, `${name} (${words.length})`),
			el("p", { class: "wordlist" }, words.join(", ")),
		]),
	);
	const exact = trades?.exact;
	const facts = {
		family: `${family}, ${blocks} blocks`,
		sizes: Object.entries(schedules)
			.map(([name, { image }]) => `${image.width}×${image.height} (${name})`)
			.join(", "),
		scales: grids.map(([height, width]) => `${width}×${height}`).join(", "),
		score: exact ? `${exact.score.toFixed(3)} by the GenEval protocol` : "not measured",
		digest,
	};
	$("model-facts").replaceChildren(
		...Object.entries(facts).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
	);
}
