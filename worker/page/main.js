// @ts-check
/** @import { FinalEvent, PlanEvent } from "../protocol/job.ts" */
import { Picture } from "./picture.js";
import { follow } from "./stream.js";
import { drawPlan, markDone, revisePlan } from "./timeline.js";

const $ = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const prompt = /** @type {HTMLInputElement} */ ($("prompt"));
const seed = /** @type {HTMLInputElement} */ ($("seed"));
const policy = /** @type {HTMLSelectElement} */ ($("policy"));
const download = /** @type {HTMLAnchorElement} */ ($("download"));
const picture = new Picture(/** @type {HTMLImageElement} */ ($("picture")));

/** @type {(() => void) | undefined} */
let stop;

$("form").addEventListener("submit", (event) => {
	event.preventDefault();
	if (stop) cancel();
	else if (prompt.value.trim()) generate();
});
$("examples").addEventListener("click", ({ target }) => {
	if (target instanceof HTMLButtonElement) prompt.value = target.textContent ?? "";
});
$("reuse").addEventListener("click", () => {
	seed.value = $("seed-used").textContent ?? "";
});
policy.addEventListener("change", describePolicy);
// A link carries prompt, seed and policy; the reader decides when to generate.
const link = new URLSearchParams(location.search);
if (link.has("prompt")) prompt.value = link.get("prompt") ?? "";
if (link.has("seed")) seed.value = link.get("seed") ?? "";
listPolicies();
nameAdapter();

function generate() {
	const ask = { prompt: prompt.value.trim(), seed: seed.value.trim(), policy: policy.value };
	const begun = performance.now();
	/** @type {PlanEvent | undefined} */
	let made;
	let stage = "";
	/** Pictures are shown in the order they came, however long each takes to decode. */
	let shown = Promise.resolve();
	setState("running");
	announce("Waiting for a GPU worker.");
	picture.clear(ask.prompt);
	$("timeline").replaceChildren();
	for (const id of ["download", "details", "legend"]) $(id).hidden = true;
	$("caption").textContent = ask.prompt;

	stop = follow(ask, {
		plan(event) {
			made = event;
			drawPlan($("timeline"), event);
			$("legend").hidden = false;
			$("seed-used").textContent = String(event.seed);
			$("reuse").hidden = false;
			history.replaceState(null, "", `?${new URLSearchParams({ prompt: ask.prompt, seed: String(event.seed), policy: ask.policy })}`);
		},
		revision(event) {
			revisePlan($("timeline"), event);
		},
		scale({ index, base64, mime, milliseconds, stage: reached }) {
			markDone($("timeline"), index, milliseconds);
			if (!stage) announce(`First preview after ${seconds(performance.now() - begun)}.`);
			else if (stage !== reached) announce(`Now the ${reached} stage.`);
			stage = reached;
			if (base64 && mime) shown = shown.then(() => picture.show(base64, mime, String(index))).then(() => {});
		},
		final(event) {
			shown = shown.then(() => finish(event));
		},
		failed(message) {
			stop = undefined;
			setState("error");
			announce(message);
		},
	});

	/** @param {FinalEvent} event */
	async function finish(event) {
		const blob = await picture.show(event.base64, event.mime, "final");
		stop = undefined;
		URL.revokeObjectURL(download.href);
		download.href = URL.createObjectURL(blob);
		download.download = `${ask.prompt.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60)}-${event.seed}.${event.mime.split("/")[1]}`;
		download.hidden = false;
		listFacts({
			seed: event.seed, policy: ask.policy, model: made?.model, size: `${event.width}×${event.height}`, adapter: event.adapter,
			"on the worker": seconds(event.milliseconds), digest: event.digest, numerics: event.numerics, "SHA-256": event.sha256,
		});
		setState("done");
		announce(`Picture finished in ${seconds(performance.now() - begun)}.`);
	}
}

function cancel() {
	stop?.();
	stop = undefined;
	setState("idle");
	announce("Stopped.");
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

/** @param {Record<string, unknown>} facts */
function listFacts(facts) {
	$("facts").replaceChildren(
		...Object.entries(facts).flatMap(([name, value]) => {
			const [term, detail] = [document.createElement("dt"), document.createElement("dd")];
			term.textContent = name;
			detail.textContent = String(value);
			return [term, detail];
		}),
	);
	$("details").hidden = false;
}

async function listPolicies() {
	const { data } = await json("/v1/policies", { data: [] });
	if (data.length === 0) return;
	policy.replaceChildren(...data.map((/** @type {{ name: string, title: string }} */ { name, title }) => Object.assign(new Option(name, name), { title })));
	const wanted = link.get("policy");
	if (data.some((/** @type {{ name: string }} */ { name }) => name === wanted)) policy.value = wanted ?? "";
	describePolicy();
}

function describePolicy() {
	$("policy-note").textContent = policy.selectedOptions[0]?.title ?? "";
}

async function nameAdapter() {
	const { workers } = await json("/healthz", { workers: [] });
	const names = [...new Set(workers.map((/** @type {{ adapter: string }} */ { adapter }) => adapter))];
	$("adapter").textContent = names.length > 0 ? `Computed by ${names.join("; ")}.` : "No GPU worker is connected yet.";
}

/** @param {string} url @param {any} otherwise */
async function json(url, otherwise) {
	try {
		return await (await fetch(url)).json();
	} catch {
		return otherwise;
	}
}

/** @param {number} milliseconds */
function seconds(milliseconds) {
	return `${(milliseconds / 1000).toFixed(milliseconds < 950 ? 2 : 1)} seconds`;
}
