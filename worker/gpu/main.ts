/** The GPU worker: opens the adapter, loads models, dials the edge and makes the pictures it is leased. Node and Deno. */
import { type Hello, type Lease, PROTOCOL_VERSION } from "../protocol/messages.ts";
import { Connection } from "./connection.ts";
import { HAND_BACK, type Outcome, runLease } from "./lease.ts";
import { type Device, openDevice } from "./models.ts";
import { readSettings } from "./settings.ts";

/** A picture in hand is finished within this time of being told to stop, or handed back. */
const DRAIN_MS = 10_000;

const log = (line: string) => console.log(`[worker] ${line}`);
const settings = readSettingsOrExit();
const inHand = new Map<string, { lease: Lease; abort: AbortController; done: Promise<void> }>();
let draining = false;
let device = await open();
watch(device);

const connection = new Connection(settings.EDGE_URL, settings.WORKER_SECRET, {
	hello,
	leases: () => [...inHand.keys()],
	admitted: () => log(`admitted by ${settings.EDGE_URL}, ready for pictures`),
	refused: (reason) => {
		log(`refused by the edge: ${reason}`);
		exit(1);
	},
	leased: start,
	cancelled: (job, attempt) => {
		const held = inHand.get(job);
		if (held?.lease.attempt === attempt) held.abort.abort("cancelled");
	},
	lost: () => {
		for (const { abort } of inHand.values()) abort.abort("connection lost");
	},
	log,
});
connection.dial();
process.on("SIGTERM", drain);
process.on("SIGINT", drain);

function hello(): Hello {
	const { facts } = device.gpu;
	const models = [...device.models.values()].map(({ info, numerics }) => ({ info, numerics }));
	return { type: "hello", version: PROTOCOL_VERSION, worker: settings.WORKER_ID, adapter: { ...facts, name: facts.name.slice(0, 200), driver: facts.driver.slice(0, 200) }, models, slots: 1 };
}

function start(lease: Lease): void {
	const abort = new AbortController();
	const done = work(lease, abort.signal).then(({ outcome, reason }) => {
		inHand.delete(lease.job);
		if (reason) log(`job ${lease.job.slice(0, 8)}: ${outcome}, ${reason}`);
		connection.send({ type: "release", job: lease.job, attempt: lease.attempt, outcome, reason });
	});
	inHand.set(lease.job, { lease, abort, done });
}

async function work(lease: Lease, signal: AbortSignal): Promise<Outcome> {
	const model = device.models.get(lease.request.model);
	if (draining || !model) return { outcome: "handed-back", reason: draining ? "the worker is stopping" : `model ${lease.request.model} is not loaded` };
	return runLease(lease, model, device.gpu.facts.name, settings.EDGE_URL, signal);
}

/** No new leases; the picture in hand is finished or, after a while, handed back. */
async function drain(): Promise<void> {
	if (draining) return;
	draining = true;
	connection.send({ type: "draining" });
	const finished = Promise.all([...inHand.values()].map(({ done }) => done));
	const late = setTimeout(() => inHand.forEach(({ abort }) => abort.abort(HAND_BACK)), DRAIN_MS);
	await finished;
	clearTimeout(late);
	connection.close();
	exit(0);
}

/** A lost device takes its work with it: hand it back, open again, and be the same worker as before. */
function watch(watched: Device): void {
	watched.gpu.lost.then(async (reason) => {
		if (draining || watched !== device) return;
		log(`the GPU device was lost (${reason}); opening it again`);
		for (const { abort } of inHand.values()) abort.abort(HAND_BACK);
		await Promise.all([...inHand.values()].map(({ done }) => done));
		device = await open();
		watch(device);
		connection.send(hello());
	});
}

async function open(): Promise<Device> {
	try {
		return await openDevice(settings.MODELS, log);
	} catch (error) {
		log((error as Error).message);
		process.exit(1);
	}
}

function readSettingsOrExit() {
	try {
		return readSettings(process.env);
	} catch (error) {
		log(`bad settings: ${(error as Error).message}`);
		process.exit(2);
	}
}

/** Dawn keeps the process alive and may fail when dropped: destroy, then exit. */
function exit(code: number): void {
	device.close();
	process.exit(code);
}
