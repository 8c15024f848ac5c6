/** The GPU worker against a real edge, when things are taken from it. */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { LoadedModel } from "../../worker/engine/types.ts";
import { ENDED } from "../../worker/gpu/exit.ts";
import { Metrics } from "../../worker/gpu/metrics.ts";
import { readSettings, SettingsError } from "../../worker/gpu/settings.ts";
import { GpuWorker } from "../../worker/gpu/worker.ts";
import { Firstlight, type SseEvent, sse } from "./firstlight.ts";
import { Wire } from "./wire.ts";

let firstlight: Firstlight;
beforeAll(async () => {
	firstlight = await Firstlight.start({ GPU_WORKERS: "0" });
});
afterAll(() => firstlight?.stop());

const preview = (seed: number, init?: RequestInit) =>
	fetch(`${firstlight.url}/v1/images/preview?prompt=a+cat&cache=false&seed=${seed}`, init);
const log: string[] = [];
const logged = async (text: string | RegExp, times = 1) => {
	while (log.filter((line) => line.match(text)).length < times) await new Promise((resolve) => setTimeout(resolve, 20));
};

/** Of an admitted worker: ends when it calls itself ready, and says whether it did so all the time since. */
function readiness({ look }: Metrics): () => Promise<boolean> {
	let always = true;
	const watch = setInterval(() => (always &&= look?.ready() === true), 5);
	return async () => {
		while (!look?.ready()) await new Promise((resolve) => setTimeout(resolve, 20));
		clearInterval(watch);
		return always;
	};
}

it("says that no worker is there", async () => {
	expect((await fetch(`${firstlight.url}/healthz`)).status).toBe(503);
	const response = await preview(1);
	expect(response.status).toBe(503);
	expect(await response.json()).toMatchObject({ error: { message: expect.stringMatching(/worker/i) } });
});

it("a lost device hands its picture back, is opened again and finishes it; drained, the worker ends", async () => {
	const metrics = new Metrics();
	const settings = readSettings(firstlight.workerSettings());
	const worker = await GpuWorker.start(settings, (line) => log.push(line), metrics);
	await logged(/admitted/);
	const ready = readiness(metrics);
	const whole = await Array.fromAsync(sse(await preview(5)));
	const events: SseEvent[] = [];
	for await (const event of sse(await preview(5))) {
		events.push(event);
		if (events.length === 3) worker.device.gpu.device.destroy();
	}
	expect(log.some((line) => line.includes("the GPU device was lost"))).toBe(true);
	expect(await ready()).toBe(false);
	expect(events.map(({ event }) => event)).toEqual(["plan", "scale", "scale", "scale", "scale", "final"]);
	expect((events.at(-1) as SseEvent).data.sha256).toBe((whole.at(-1) as SseEvent).data.sha256);

	// A picture that is in hand, as it is with its first scale, when the worker is told to stop is still finished.
	const last = sse(await preview(6));
	while ((await last.next()).value?.event !== "scale");
	await worker.drain();
	expect(await worker.ended).toBe(0);
	expect((await Array.fromAsync(last)).at(-1)).toMatchObject({ event: "final" });
});

it("a worker with slots makes several pictures at once, each as it is alone", async () => {
	const worker = await GpuWorker.start(readSettings({ ...firstlight.workerSettings(), SLOTS: "3" }), (line) =>
		log.push(line),
	);
	await logged(/admitted/, 3);
	let [open, most] = [0, 0];
	const final = async (seed: number) => {
		let last: SseEvent | undefined;
		for await (last of sse(await preview(seed))) if (last.data.index === 0) most = Math.max(most, ++open);
		open--;
		return last as SseEvent;
	};
	const alone: SseEvent[] = [];
	for (const seed of [1, 2, 3, 4]) alone.push(await final(seed));
	expect(most).toBe(1);
	const together = Promise.all([1, 2, 3, 4].map(final));
	expect((await together).map(({ data }) => data.sha256)).toEqual(alone.map(({ data }) => data.sha256));
	expect(most).toBeGreaterThanOrEqual(3);
	await worker.drain();
	expect(await worker.ended).toBe(0);
});

it("a cut connection costs nothing, and a worker told to stop meanwhile finishes first", async () => {
	log.length = 0;
	const wire = await Wire.to(firstlight.url);
	const metrics = new Metrics();
	const settings = readSettings({ ...firstlight.workerSettings(), EDGE_URL: wire.url });
	const worker = await GpuWorker.start(settings, (line) => log.push(line), metrics);
	await logged(/admitted/);
	const ready = readiness(metrics);
	const whole = (await Array.fromAsync(sse(await preview(8)))).at(-1) as SseEvent;
	const events: SseEvent[] = [];
	for await (const event of sse(await preview(8))) {
		events.push(event);
		if (event.event === "scale") wire.cut();
	}
	expect(events.map(({ event }) => event)).toEqual(["plan", "scale", "scale", "scale", "scale", "final"]);
	expect(events.at(-1)?.data.sha256).toBe(whole.data.sha256);
	await logged(/admitted/, 2);
	expect(await ready()).toBe(false);
	expect(log.filter((line) => /handed-back|told to stop/.test(line))).toEqual([]);

	while (!(await fetch(`${firstlight.url}/healthz`)).ok) await new Promise((resolve) => setTimeout(resolve, 50));
	const last = sse(await preview(9));
	while ((await last.next()).value?.event !== "scale");
	wire.cut();
	await worker.drain();
	expect(await worker.ended).toBe(0);
	const rest = (await Array.fromAsync(last)).map(({ event }) => event);
	expect(rest).toEqual(["scale", "scale", "scale", "final"]);
	wire.close();
});

it("a worker with a wrong secret says what the edge said and ends for good", async () => {
	log.length = 0;
	const settings = readSettings({ ...firstlight.workerSettings(), WORKER_SECRET: "a-wrong-secret-0123456789" });
	const worker = await GpuWorker.start(settings, (line) => log.push(line));
	expect(await worker.ended).toBe(ENDED.misconfigured);
	expect(log.at(-1)).toMatch(/refused by the edge: 401: The worker's secret or token is missing or wrong/);
});

it("a model that cannot be used is no reason to start again", async () => {
	const settings = readSettings({ ...firstlight.workerSettings(), MODELS: "no-such-model" });
	await expect(GpuWorker.start(settings, () => {})).rejects.toThrow(SettingsError);
});

it("a worker whose GPU hangs ends, and its picture goes on elsewhere", async () => {
	log.length = 0;
	const start = (WORKER_ID: string, more: Record<string, string> = {}) =>
		GpuWorker.start(readSettings({ ...firstlight.workerSettings(), WORKER_ID, ...more }), (line) => log.push(line));
	const hung = await start("hung", { WATCHDOG_SECONDS: "1" });
	const { models } = hung.device;
	const use = models.use.bind(models);
	const never = async function* () {
		await new Promise(() => {});
	};
	const hanging = (model: LoadedModel) =>
		new Proxy(model, {
			get(target, name) {
				const value = name === "generate" ? never : Reflect.get(target, name, target);
				return typeof value === "function" ? value.bind(target) : value;
			},
		});
	models.use = (id, run, signal) => use(id, (model) => run(hanging(model)), signal);
	await logged(/admitted/);
	const events = sse(await preview(10));
	expect(await hung.ended).toBe(ENDED.failed);
	expect(log.some((line) => line.includes("the GPU hangs"))).toBe(true);
	const well = await start("well");
	expect((await Array.fromAsync(events)).at(-1)).toMatchObject({ event: "final" });
	await well.drain();
	hung.device.close();
});
