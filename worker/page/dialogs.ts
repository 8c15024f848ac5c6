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
	document.addEventListener("click", ({ target }) => {
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
		// A click beside a dialog closes it, as one beside a menu does.
		if (target instanceof HTMLDialogElement) target.close();
		for (const menu of document.querySelectorAll<HTMLDetailsElement>("details.menu[open]"))
			if (!menu.contains(target) || target.closest(".sheet > button")) menu.open = false;
	});
	$("copy-code").addEventListener("click", async () => {
		await navigator.clipboard.writeText($("code").textContent ?? "");
		$("copy-code").textContent = "Copied";
		setTimeout(() => ($("copy-code").textContent = "Copy"), 1500);
	});
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
