/** The page: its parts put together, and what a person does handed on. */
import { Choices } from "./choices.ts";
import { openDialogs } from "./dialogs.ts";
import { $, composing, setText } from "./dom.ts";
import { acceptPictures } from "./drop.ts";
import { type Ask, type Catalog, catalog as fetchCatalog, type Health, health, isJob, type Model } from "./edge.ts";
import { ready } from "./follow.ts";
import { Form } from "./form.ts";
import { Gallery } from "./gallery.ts";
import { Here } from "./here.ts";
import { History, type Kept, runOf } from "./history.ts";
import { askAgain, offerKey } from "./key.ts";
import { shared } from "./maker.ts";
import type { Settings } from "./picture-file.ts";
import { type Run, trunkInWords } from "./run.ts";
import { trunkIn } from "./share.ts";
import { announce, finishedInWords, setState } from "./status.ts";
import { store, stored } from "./storage.ts";
import { address, askedAgain, Studio } from "./studio.ts";
import { offerTakeaway } from "./takeaway.ts";
import { Tiles } from "./tiles.ts";
import { randomSeed } from "./units.ts";
import { Viewer } from "./viewer.ts";

/** PNG of a picture larger than this may be too large for an event. */
const MAX_PNG_PIXELS = 400_000;
const TYPING_MS = 300;
const TICK_MS = 100;

let catalog: Catalog = { models: [], policies: [] };
let workers: Health | null = null;

const kept = new History();
const viewer = new Viewer((plan, adapter) => kept.exactTimes(plan, adapter ?? soleAdapter()));
const gallery = new Gallery(kept, showKept);
const tiles = new Tiles((run) => {
	tiles.hide();
	viewer.show(run);
	announce(run.state === "done" ? finishedInWords(run) : "");
});
const here = new Here(announce);
const studio = new Studio({
	viewer,
	tiles,
	model: () => model(),
	source: () => here.source(model()),
	async prepare(signal) {
		if (catalog.models.length > 0) return;
		await ready(signal, studio.waiting);
		await loadCatalog();
	},
	async keep(run) {
		if (await kept.add(run)) gallery.draw();
	},
});
const form = new Form({ generate, typed });
const choices = new Choices();

const select = (id: string) => $<HTMLSelectElement>(id);
const model = (): Model | undefined =>
	catalog.models.find(({ id }) => id === select("model").value) ?? catalog.models.at(0);
const soleAdapter = () => (workers?.adapters.length === 1 ? workers.adapters[0] : undefined);

openDialogs(model, () => {
	const run = viewer.runs.at(-1);
	const ask: Ask = run?.ask ?? { prompt: "a photo of a red apple", seed: "7", policy: choices.policy, format: "png" };
	return { ask: { ...ask, model: ask.model ?? model()?.id }, alone: run?.trunk === undefined, size: run };
});
offerKey(() => loadCatalog().catch((error: Error) => announce(error.message)));
acceptPictures((found) => (typeof found === "string" ? announce(found) : restore(found)));
offerTakeaway(() => viewer.runs.at(-1));
for (const id of ["model", "schedule"]) select(id).addEventListener("change", () => modelChosen());
$("stop").addEventListener("click", () => studio.stop());
$("back").addEventListener("click", () => {
	viewer.show();
	tiles.show();
});
$("another").addEventListener("click", () => {
	const run = viewer.run;
	if (!run) return;
	const ask = { ...askedAgain(run.ask), seed: String(randomSeed()) };
	studio.begin((signal) => studio.single(ask, signal));
});
$("finish").addEventListener("click", () => {
	const run = viewer.run;
	if (run) studio.begin((signal) => studio.finish(run, choices.policy, signal));
});
$("siblings").addEventListener("click", () => {
	const run = viewer.run;
	if (run) studio.begin((signal) => studio.siblings(run, scalesToShare(run), signal));
});
addEventListener("keydown", (event) => {
	// Within a word that is being put together Escape takes back what is put together.
	if (event.key !== "Escape" || composing(event)) return;
	const open = document.querySelectorAll<HTMLDetailsElement>("details.menu[open]");
	if (open.length === 0 && !document.querySelector("dialog[open]")) studio.stop();
	for (const menu of open) menu.open = false;
});
setInterval(() => studio.busy && viewer.tick(), TICK_MS);

const live = $<HTMLInputElement>("live");
live.checked = stored("localStorage", "live") !== "no";
live.addEventListener("change", () => store("localStorage", "live", live.checked ? "yes" : "no"));

start();

/** Fills the page: what there was, what there is, and what a link asks for. */
async function start(): Promise<void> {
	const link = new URLSearchParams(location.search);
	form.fill(fieldsOf(link));
	choices.want(link.get("policy"), link.get("compare"));
	viewer.draw();
	kept.load().then(() => gallery.draw());
	// Generate may be pressed before a worker is there: it waits for the same thing.
	await ready(new AbortController().signal, studio.waiting);
	try {
		await loadCatalog(link);
	} catch (error) {
		// Generate comes back to it.
		if (!studio.running) announce((error as Error).message);
		return;
	}
	studio.waiting(null);
	const job = link.get("job");
	if (isJob(job) && !studio.running) showShared(job, link);
}

async function loadCatalog(wanted = new URLSearchParams()): Promise<void> {
	[catalog, workers] = await Promise.all([fetchCatalog(), health()]);
	const choice = select("model");
	const before = wanted.get("model") ?? choice.value;
	choice.replaceChildren(...catalog.models.map(({ id }) => new Option(id, id)));
	if (catalog.models.some(({ id }) => id === before)) choice.value = before;
	$("model-setting").hidden = catalog.models.length < 2;
	const names = workers?.adapters ?? [];
	setText($("adapter"), names.length > 0 ? `Computed by ${names.join("; ")}.` : "No GPU worker is connected yet.");
	modelChosen(wanted.get("schedule") ?? undefined);
}

/** Everything is drawn for the chosen model; at this schedule, where it has it. */
function modelChosen(schedule?: string): void {
	const chosen = model();
	if (!chosen) return;
	form.setModel(chosen);
	form.fill({ schedule });
	choices.draw(chosen, form.schedule, catalog.policies, workers?.adapters ?? []);
	viewer.setModel(chosen, form.schedule);
	here.offer(chosen);
}

/** What the form asks, in place of whatever is being made. */
function generate(): void {
	const question = form.read();
	if (!question) return;
	clearTimeout(typing);
	askAgain();
	const { value: count } = select("count");
	studio.begin(async (signal) => {
		const ask = { ...question, policy: choices.policy, format: formatOf() };
		if (choices.policies.length > 1) await studio.compared(ask, choices.policies, signal);
		else if (count === "nine") await studio.sketches(ask, settledBy(), signal);
		else if (count !== "1") await studio.several(ask, Number(count), signal);
		else await studio.single(ask, signal);
	});
}

/** The prompt has changed: a sketch of it, as soon as it rests. */
let typing: ReturnType<typeof setTimeout> | undefined;
function typed(): void {
	clearTimeout(typing);
	studio.stopSketch();
	if (!live.checked || studio.running) return;
	typing = setTimeout(() => {
		const question = form.glance();
		if (!question || studio.running) return;
		const { structureFrom } = model()?.calibration[form.schedule] ?? { structureFrom: settledBy() };
		const until = String(Math.max(0, structureFrom - 1));
		studio.sketch({ ...question, policy: "exact", format: formatOf(), until });
	}, TYPING_MS);
}

/** Last scale of the stages that settle what the picture shows. */
function settledBy(): number {
	const grids = model()?.schedules[form.schedule]?.grids ?? [];
	const { fidelityFrom } = model()?.calibration[form.schedule] ?? { fidelityFrom: Math.ceil(grids.length / 2) };
	return Math.max(0, Math.min(fidelityFrom, grids.length - 1) - 1);
}

/** Up to the scale that is looked at; of the finished picture, up to where it was settled. */
function scalesToShare({ frames }: Run): number {
	const last = frames.at(-1)?.index ?? 0;
	const chosen = viewer.frame === undefined || viewer.frame >= last ? Math.min(settledBy(), last - 1) : viewer.frame;
	return Math.max(1, chosen + 1);
}

function showKept(one: Kept): void {
	clearTimeout(typing);
	studio.leave();
	const run = runOf(one);
	tiles.forget();
	viewer.show(run);
	address(run);
	restore(run.ask);
	setState("done");
	announce(finishedInWords(run));
}

/** A picture by its job, while it is kept; afterwards its settings are there to make it again. */
function showShared(job: string, link: URLSearchParams): void {
	const { seed = "", ...fields } = fieldsOf(link);
	const trunk = trunkIn(link);
	studio.begin(async (signal) => {
		const ask: Ask = { ...fields, seed, policy: link.get("policy") ?? "exact", format: formatOf() };
		try {
			await studio.single(ask, signal, trunk, shared(job));
		} catch (error) {
			// What has taken its place lies on the table.
			signal.throwIfAborted();
			viewer.show();
			const again = trunk
				? "It took its first scales from another one: Generate makes the picture of its seed alone."
				: "Generate makes it again from the same settings.";
			throw new Error(`This picture is not kept any more. ${again}`, { cause: error });
		}
	});
}

function fieldsOf(link: URLSearchParams): Partial<Pick<Ask, "prompt" | "class" | "model" | "schedule" | "seed">> {
	const field = (name: string) => link.get(name) ?? undefined;
	return {
		prompt: field("prompt"),
		class: field("class"),
		model: field("model"),
		schedule: field("schedule"),
		seed: field("seed"),
	};
}

/** Settings of a picture, back in the form. */
function restore({ prompt, class: label, seed, schedule, policy, model: name, ...rest }: Settings | Ask): void {
	if (name && catalog.models.some(({ id }) => id === name)) select("model").value = name;
	modelChosen(schedule ?? model()?.defaultSchedule);
	form.fill({ prompt, class: label, seed });
	choices.want(policy);
	const trunk = "trunk" in rest ? rest.trunk : undefined;
	const shares = trunk ? ` Its first scales were ${trunkInWords(trunk)}.` : "";
	announce(`The picture's settings are in the form.${shares}`);
}

function formatOf(): Ask["format"] {
	const { width, height } = model()?.schedules[form.schedule]?.image ?? { width: 0, height: 0 };
	// Pixels are kept as they were made, where that fits.
	return width * height <= MAX_PNG_PIXELS ? "png" : "webp";
}
