/** The page: what is asked becomes runs, and what they become is shown. */
import type { JobEvent } from "../protocol/job.ts";
import { Choices } from "./choices.ts";
import { compare } from "./comparison.ts";
import { openDialogs } from "./dialogs.ts";
import { $, setText } from "./dom.ts";
import { acceptPictures } from "./drop.ts";
import { type Ask, type Catalog, catalog as fetchCatalog, type Health, health, type Model } from "./edge.ts";
import { STAGES } from "./filmstrip.ts";
import { ready, type Waiting } from "./follow.ts";
import { Form, type Question } from "./form.ts";
import { Gallery } from "./gallery.ts";
import { History, type Kept, runOf } from "./history.ts";
import { make, type Source, shared, type Watch } from "./maker.ts";
import type { Settings } from "./picture-file.ts";
import { newRun, type Run, subjectOf } from "./run.ts";
import { animationOf, type FileType, fileOf, linkOf, save, stemOf } from "./share.ts";
import { Tiles } from "./tiles.ts";
import { briefly, randomSeed, seconds } from "./units.ts";
import { Viewer } from "./viewer.ts";

type State = "idle" | "running" | "done" | "error";

/** PNG of a picture larger than this may be too large for an event. */
const MAX_PNG_PIXELS = 400_000;
/** Streams at once: a browser opens six connections to a host, and some must be left. */
const TOGETHER = 4;
const TYPING_MS = 300;
const TICK_MS = 100;
const QUEUE_MS = 2000;

let catalog: Catalog = { models: [], policies: [] };
let workers: Health | null = null;
/** While pictures are being made; a further one takes their place. */
let running: AbortController | undefined;
/** A sketch of what is being typed. */
let sketching: AbortController | undefined;

const history = new History();
const viewer = new Viewer((plan, adapter) => history.exactTimes(plan, adapter ?? soleAdapter()));
const gallery = new Gallery(history, showKept);
const tiles = new Tiles((run) => {
	tiles.hide();
	viewer.show(run);
	setText($("status"), run.state === "done" ? finishedInWords(run) : "");
});
const form = new Form({ generate, typed });
const choices = new Choices();
openDialogs(
	() => model(),
	() => {
		const run = viewer.runs.at(-1);
		const ask = run?.ask ?? { prompt: "a photo of a red apple", seed: "7", policy: choices.policy, format: "png" };
		return { ask: { ...ask, model: ask.model ?? model()?.id }, alone: run?.trunk === undefined };
	},
);
acceptPictures((found) => (typeof found === "string" ? announce(found) : restore(found)));

const select = (id: string) => $<HTMLSelectElement>(id);
const model = (): Model | undefined =>
	catalog.models.find(({ id }) => id === select("model").value) ?? catalog.models.at(0);
const soleAdapter = () => (workers?.adapters.length === 1 ? workers.adapters[0] : undefined);

select("model").addEventListener("change", modelChosen);
select("schedule").addEventListener("change", modelChosen);
$("stop").addEventListener("click", stop);
$("another").addEventListener("click", () => {
	const run = viewer.run;
	if (run) begin((ask) => single({ ...ask, ...asked(run.ask), seed: String(randomSeed()) }));
});
$("siblings").addEventListener("click", siblings);
$("finish").addEventListener("click", finish);
$("back").addEventListener("click", () => tiles.show());
$("download-menu").addEventListener("click", download);
$("copy-link").addEventListener("click", () => copy("The link was copied.", (run) => linkOf(run).href));
$("copy-picture").addEventListener("click", () => copy("The picture was copied."));
addEventListener("keydown", (event) => {
	if (event.key === "Escape" && running && !document.querySelector("dialog[open], details.menu[open]")) stop();
	if (event.key === "Escape")
		for (const menu of document.querySelectorAll<HTMLDetailsElement>("details.menu[open]")) menu.open = false;
});
setInterval(() => (running || sketching) && viewer.tick(), TICK_MS);

const live = $<HTMLInputElement>("live");
live.checked = localStorage.getItem("live") !== "no";
live.addEventListener("change", () => localStorage.setItem("live", live.checked ? "yes" : "no"));

start();

/** Fills the page: what there was, what there is, and what a link asks for. */
async function start(): Promise<void> {
	const link = new URLSearchParams(location.search);
	const field = (name: string) => link.get(name) ?? undefined;
	form.fill({ prompt: field("prompt"), class: field("class"), seed: field("seed") });
	choices.want(link.get("policy"), link.get("compare"));
	viewer.draw();
	history.load().then(() => gallery.draw());
	const wait = new AbortController();
	// Generate may be pressed before a worker is there: it waits for the same thing.
	await ready(wait.signal, sayWaiting);
	await loadCatalog(link);
	sayWaiting(null);
	const job = link.get("job");
	if (job && !running) showShared(job, link);
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
	modelChosen();
	form.fill({ schedule: wanted.get("schedule") ?? undefined });
}

function modelChosen(): void {
	const chosen = model();
	if (!chosen) return;
	form.setModel(chosen);
	choices.draw(chosen, form.schedule, catalog.policies, workers?.adapters ?? []);
	viewer.setModel(chosen, form.schedule);
}

/** What the form asks, in place of whatever is being made. */
function generate(): void {
	const question = form.read();
	if (!question) return;
	const { value: count } = select("count");
	begin(async (ask) => {
		const now = { ...ask, ...question };
		if (choices.policies.length > 1) await compared(now);
		else if (count === "nine") await many(sketches(now), false);
		else if (count !== "1") await many(several(now, Number(count)), true);
		else await single(now);
	});
}

/** Runs one piece of work as the one that Stop stops, once a worker and its models are there. */
async function begin(work: (ask: Pick<Ask, "policy" | "format">) => Promise<void>): Promise<void> {
	running?.abort();
	sketching?.abort();
	const abort = (running = new AbortController());
	setState("running");
	announce("Waiting for a GPU worker.");
	try {
		if (catalog.models.length === 0) {
			await ready(abort.signal, sayWaiting);
			await loadCatalog();
		}
		abort.signal.throwIfAborted();
		await work({ policy: choices.policies[0], format: formatOf() });
		if (running === abort) setState("done");
	} catch (error) {
		// Another picture has taken its place.
		if (running !== abort) return;
		sayWaiting(null);
		announce(abort.signal.aborted ? "Stopped." : (error as Error).message);
		setState(abort.signal.aborted ? "idle" : "error");
		viewer.draw();
	} finally {
		if (running === abort) running = undefined;
		viewer.tick();
	}
}

function stop(): void {
	running?.abort();
}

async function single(ask: Ask, trunk?: Run["trunk"], source?: Source): Promise<void> {
	const run = newRun(ask, trunk);
	tiles.forget();
	viewer.show(run);
	address(run);
	await made(run, source);
}

/** Both pictures of one seed, one after the other: together they would share the GPU, and neither time be its own. */
async function compared(ask: Ask): Promise<void> {
	const runs = choices.policies.map((policy) => newRun({ ...ask, policy }));
	tiles.forget();
	viewer.show(...runs);
	address(runs[1], runs[0].ask.policy);
	for (const run of runs) {
		run.begun = performance.now();
		await made(run);
	}
	announce(await compare(runs, model()));
	viewer.wipe.ready();
}

/** Runs in tiles, some at once. One that fails does not stop the others, unless all do. */
async function many(runs: Run[], keep: boolean): Promise<void> {
	const { signal } = running as AbortController;
	viewer.show();
	tiles.begin(runs);
	address(runs[0]);
	const left = [...runs];
	const failures: unknown[] = [];
	const one = async () => {
		for (let run = left.shift(); run; run = left.shift()) {
			run.begun = performance.now();
			try {
				await make(run, signal, watch);
				if (keep) await kept(run);
			} catch (error) {
				signal.throwIfAborted();
				failures.push(error);
			}
			tiles.changed(run);
			announce(`${runs.filter(({ state }) => state === "done").length} of ${runs.length} are there.`);
		}
	};
	await Promise.all(Array.from({ length: TOGETHER }, one));
	if (failures.length === runs.length) throw failures[0];
	announce(`Choose one of the ${runs.length}.`);
}

/** Nine seeds as far as what the picture shows is settled; from there on any of them can be finished. */
function sketches(ask: Ask): Run[] {
	const seeds = [ask.seed, ...Array.from({ length: 8 }, () => String(randomSeed()))];
	return seeds.map((seed) => newRun({ ...ask, seed, policy: "exact", until: String(settledBy()) }));
}

function several(ask: Ask, count: number): Run[] {
	const seeds = [ask.seed, ...Array.from({ length: count - 1 }, () => String(randomSeed()))];
	return seeds.map((seed) => newRun({ ...ask, seed }));
}

/** The whole picture of a sketch, from its own scales. */
function finish(): void {
	const sketch = viewer.run;
	if (!sketch?.job || sketch.ask.until === undefined) return;
	const { until, ...ask } = sketch.ask;
	const among = tiles.runs;
	begin(async ({ policy }) => {
		const run = newRun({ ...ask, policy, from: sketch.job, scales: String(Number(until) + 1) });
		viewer.show(run);
		address(run);
		await made(run);
		// The other sketches can still be chosen.
		tiles.runs = among;
		$("back").hidden = among.length === 0;
	});
}

/** Four more pictures that share the scales up to the one looked at, and differ in what comes after. */
function siblings(): void {
	const run = viewer.run;
	if (!run?.job || !run.plan) return;
	const last = run.frames.at(-1)?.index ?? 0;
	const upTo = viewer.frame === undefined || viewer.frame === last ? Math.min(settledBy(), last - 1) : viewer.frame;
	const scales = Math.max(1, upTo + 1);
	begin(async ({ format }) => {
		const seed = run.trunk && run.trunk.scales >= scales ? run.trunk.seed : run.ask.seed;
		const others = Array.from({ length: 4 }, () =>
			newRun(
				{ ...asked(run.ask), format, seed: String(randomSeed()), from: run.job, scales: String(scales) },
				{ seed, scales },
			),
		);
		await many(others, true);
	});
}

/** Last scale of the stages that settle what the picture shows. */
function settledBy(): number {
	const grids = model()?.schedules[form.schedule]?.grids ?? [];
	const { fidelityFrom } = model()?.calibration[form.schedule] ?? { fidelityFrom: Math.ceil(grids.length / 2) };
	return Math.max(0, Math.min(fidelityFrom, grids.length - 1) - 1);
}

/** The prompt has changed: a sketch of it, in place of the sketch before. */
let typing: ReturnType<typeof setTimeout> | undefined;
function typed(): void {
	clearTimeout(typing);
	sketching?.abort();
	if (!live.checked || running) return;
	typing = setTimeout(() => {
		const question = form.glance();
		if (question && !running) sketch(question);
	}, TYPING_MS);
}

async function sketch(question: Question): Promise<void> {
	const abort = (sketching = new AbortController());
	const { structureFrom } = model()?.calibration[form.schedule] ?? { structureFrom: settledBy() };
	const until = String(Math.max(0, structureFrom - 1));
	const run = newRun({ ...question, policy: "exact", format: formatOf(), until });
	const quiet: Watch = { changed: (run) => viewer.changed(run), waiting: () => {} };
	tiles.forget();
	viewer.show(run);
	announce("");
	setState("idle");
	try {
		await make(run, abort.signal, quiet);
	} catch (error) {
		if (!abort.signal.aborted) announce((error as Error).message);
	} finally {
		if (sketching === abort) sketching = undefined;
		if (!abort.signal.aborted) viewer.changed(run);
	}
}

/** A run to its end, shown and kept. */
async function made(run: Run, source?: Source): Promise<void> {
	const { signal } = running as AbortController;
	const queue = setInterval(() => sayQueue(run), QUEUE_MS);
	try {
		await make(run, signal, watch, source);
	} finally {
		clearInterval(queue);
	}
	announce(finishedInWords(run));
	await kept(run);
	viewer.changed(run);
}

async function kept(run: Run): Promise<void> {
	if (await history.add(run)) gallery.draw();
}

const watch: Watch = {
	changed(run: Run, event: JobEvent): void {
		viewer.changed(run);
		tiles.changed(run);
		if (event.type !== "scale" || !viewer.runs.includes(run)) return;
		const name = viewer.runs.length === 2 ? `${run.ask.policy}: ` : "";
		const [before] = run.frames.slice(-2);
		if (run.frames.length === 1) announce(`${name}First preview after ${seconds(run.preview ?? 0)}.`);
		else if (before.stage !== event.stage) announce(`${name}Now ${STAGES[event.stage]}.`);
	},
	waiting: (state) => sayWaiting(state),
};

let waited: Waiting["kind"] | undefined;
function sayWaiting(state: Waiting | null): void {
	if (state?.kind === waited) return;
	const before = waited;
	waited = state?.kind;
	$("loading").hidden = state?.kind !== "loading";
	if (!state) {
		if (before === "lost") announce(running ? "Connected again." : "");
		else if (before) announce("");
	} else if (state.kind === "loading")
		announce(`The model is loading.${running ? " The picture begins by itself." : ""}`);
	else if (state.kind === "full") announce("Many pictures are waiting already. Yours is asked for again in a moment.");
	else if (state.begun) announce("The connection was lost. Trying again; the picture goes on where it was.");
	else announce("Firstlight does not answer. Trying again.");
}

/** While a picture waits for a worker: how many are before it, and about how long that takes. */
async function sayQueue(run: Run): Promise<void> {
	if (run.state !== "waiting" || !run.plan || waited) return;
	const now = await health();
	if (!now || run.state !== "waiting" || now.queue === 0) return;
	const times = history.kept.slice(0, 9).flatMap(({ facts }) => facts?.milliseconds ?? []);
	const typical = times.sort((a, b) => a - b)[times.length >> 1];
	const wait = typical ? `, about ${briefly((now.queue * typical) / Math.max(1, now.slots))}` : "";
	announce(now.queue === 1 ? `Next in the queue${wait}.` : `${now.queue} pictures are waiting, this one among them${wait}.`);
}

function showKept(kept: Kept): void {
	if (running) stop();
	const run = runOf(kept);
	tiles.forget();
	viewer.show(run);
	address(run);
	restore(run.ask);
	setState("done");
	announce(finishedInWords(run));
}

/** A picture by its job, while it is kept; afterwards its settings are there to make it again. */
function showShared(job: string, link: URLSearchParams): void {
	const field = (name: string) => link.get(name) ?? undefined;
	const trunk = field("trunk");
	begin(async ({ format }) => {
		const ask: Ask = {
			prompt: field("prompt"),
			class: field("class"),
			model: field("model"),
			schedule: field("schedule"),
			seed: field("seed") ?? "",
			policy: field("policy") ?? "exact",
			format,
		};
		try {
			await single(ask, trunk ? { seed: trunk, scales: Number(field("scales")) } : undefined, shared(job));
		} catch (error) {
			(running as AbortController).signal.throwIfAborted();
			viewer.show();
			throw new Error("This picture is not kept any more. Generate makes it again from the same settings.", {
				cause: error,
			});
		}
	});
}

/** Settings of a picture, back in the form. */
function restore({ prompt, class: label, seed, schedule, policy, model: name, ...rest }: Settings | Ask): void {
	if (name && catalog.models.some(({ id }) => id === name)) {
		select("model").value = name;
		modelChosen();
	}
	form.fill({ prompt, class: label, seed, schedule });
	choices.want(policy);
	const trunk = "trunk" in rest ? rest.trunk : undefined;
	const shares = trunk ? ` Its first ${trunk.scales} scales were those of seed ${trunk.seed}.` : "";
	announce(`The picture's settings are in the form.${shares}`);
}

async function download({ target }: Event): Promise<void> {
	const kind = (target as HTMLElement).dataset.download as FileType | "animation" | undefined;
	const run = viewer.runs.at(-1);
	if (!kind || !run) return;
	try {
		const stem = stemOf(run);
		if (kind === "animation") save(await animationOf(run), `${stem}-scales.webp`);
		else save(await fileOf(run, kind), `${stem}.${kind}`);
	} catch (error) {
		announce((error as Error).message);
	}
}

async function copy(done: string, text?: (run: Run) => string): Promise<void> {
	const run = viewer.runs.at(-1);
	if (!run?.picture) return;
	try {
		if (text) await navigator.clipboard.writeText(text(run));
		else await navigator.clipboard.write([new ClipboardItem({ "image/png": fileOf(run, "png") })]);
		announce(done);
	} catch {
		announce("This browser did not allow to copy.");
	}
}

/** What can be asked again of what was asked: without what holds for one picture alone. */
function asked({ from: _, scales: __, until: ___, ...ask }: Ask): Ask {
	return ask;
}

/** The address of the page is that of what it shows; the reader of a link decides when to generate. */
function address(run: Run, comparedWith?: string): void {
	const url = linkOf({ ask: run.ask, trunk: run.trunk });
	if (comparedWith) url.searchParams.set("compare", comparedWith);
	window.history.replaceState(null, "", url);
}

function formatOf(): Ask["format"] {
	const { width, height } = model()?.schedules[form.schedule]?.image ?? { width: 0, height: 0 };
	// Pixels are kept as they were made, where that fits.
	return width * height <= MAX_PNG_PIXELS ? "png" : "webp";
}

function finishedInWords(run: Run): string {
	const unknown = run.unknown?.length ? ` Not known, and ignored: ${run.unknown.slice(0, 5).join(", ")}.` : "";
	if (run.ask.until !== undefined) return `A sketch of seed ${run.ask.seed}. Finish it, or choose another.${unknown}`;
	return `Picture finished in ${seconds(run.took ?? 0)}.${unknown}`;
}

function setState(state: State): void {
	document.body.dataset.state = state;
	$<HTMLButtonElement>("stop").disabled = state !== "running";
	if (state === "done") document.title = `✓ ${subjectOf(viewer.run?.ask ?? {})}`;
}

/** Milestones only: a screen reader says each of them. */
function announce(text: string): void {
	setText($("status"), text);
}
