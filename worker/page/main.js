// @ts-check
/** @import { Made } from "./print.js" */
import { adapters, Catalog } from "./catalog.js";
import { compare } from "./comparison.js";
import { Print } from "./print.js";

const $ = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const input = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ ($(id));
const [prompt, label, seed] = ["prompt", "class", "seed"].map(input);
const catalog = new Catalog($);
const first = new Print($("print"));
/** Made when it is first needed. @type {Print | undefined} */
let second;
/** While pictures are being made. @type {AbortController | undefined} */
let running;

/** PNG of a picture larger than this may be too large for an event. */
const MAX_PNG_PIXELS = 400_000;

$("form").addEventListener("submit", (event) => {
	event.preventDefault();
	if (running) running.abort();
	else if (catalog.classes !== undefined || prompt.value.trim()) generate();
});
$("examples").addEventListener("click", ({ target }) => {
	if (target instanceof HTMLButtonElement) prompt.value = target.textContent ?? "";
});
$("reuse").addEventListener("click", () => {
	seed.value = $("seed-used").textContent ?? "";
});
// A link carries what to draw and how; the reader decides when to generate.
const link = new URLSearchParams(location.search);
for (const field of [prompt, label, seed]) if (link.has(field.name)) field.value = link.get(field.name) ?? "";
catalog.fill(link);
adapters().then((names) => {
	$("adapter").textContent = names.length > 0 ? `Computed by ${names.join("; ")}.` : "No GPU worker is connected yet.";
});

async function generate() {
	const { model, policies } = catalog;
	const { width, height } = model?.schedules[model.defaultSchedule].image ?? { width: 0, height: 0 };
	const comparing = policies.length > 1;
	/** Both pictures of a comparison have one seed, so it is chosen here. */
	const ask = {
		...(catalog.classes === undefined ? { prompt: prompt.value.trim() } : { class: label.value }),
		...(model && { model: model.id }),
		seed: seed.value.trim() || String(crypto.getRandomValues(new Uint32Array(1))[0]),
		// Pixels are compared as they were made, where that fits.
		format: comparing && width * height <= MAX_PNG_PIXELS ? "png" : "webp",
	};
	const prints = comparing ? [first, (second ??= first.another())] : [first];
	const abort = (running = new AbortController());
	setState("running");
	document.body.toggleAttribute("data-comparing", comparing);
	if (second) second.root.hidden = !comparing;
	for (const id of ["comparison", "legend"]) $(id).hidden = true;
	for (const [i, print] of prints.entries()) print.clear(subject(ask), comparing ? policies[i] : undefined);
	$("seed-used").textContent = ask.seed;
	$("reuse").hidden = false;
	const { format, ...shown } = ask;
	history.replaceState(
		null,
		"",
		`?${new URLSearchParams({ ...shown, policy: policies[0], ...(comparing && { compare: policies[1] }) })}`,
	);
	announce("Waiting for a GPU worker.");
	try {
		/** One after the other: together they would share the GPU, and neither time would be its own. @type {Made[]} */
		const made = [];
		for (const [i, print] of prints.entries()) {
			const say = (/** @type {string} */ text) => announce(comparing ? `${policies[i]}: ${text}` : text);
			const planned = () => ($("legend").hidden = false);
			made.push(await print.make({ ...ask, policy: policies[i] }, model, { signal: abort.signal, say, planned }));
		}
		if (comparing) announce(await compare($("comparison"), made, model));
		setState("done");
	} catch (error) {
		announce(abort.signal.aborted ? "Stopped." : /** @type {Error} */ (error).message);
		setState(abort.signal.aborted ? "idle" : "error");
	} finally {
		running = undefined;
	}
}

/** @param {{ prompt?: string, class?: string }} ask */
function subject(ask) {
	return ask.prompt ?? `class ${ask.class}`;
}

/** @param {"idle" | "running" | "done" | "error"} state */
function setState(state) {
	document.body.dataset.state = state;
	$("go").textContent = state === "running" ? "Stop" : "Generate";
}

/** Milestones only: a screen reader says each of them. @param {string} text */
function announce(text) {
	$("status").textContent = text;
}
