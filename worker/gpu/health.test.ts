/** A worker's health port and its lines, as who collects them sees them. */
import type { AddressInfo } from "node:net";
import { expect, it } from "vitest";
import { watchedAt } from "./health.ts";
import { workerLog } from "./log.ts";
import { SettingsError } from "./settings.ts";

it("tells whether a worker lives and is ready, and what it has done", async () => {
	const { metrics, server } = await watchedAt(0, "127.0.0.1");
	const { port, address } = server.address() as AddressInfo;
	expect(address).toBe("127.0.0.1");
	const ask = async (path: string, method = "GET") => {
		const response = await fetch(`http://127.0.0.1:${port}${path}`, { method });
		return { status: response.status, text: await response.text() };
	};
	expect((await ask("/live")).status).toBe(200);
	expect((await ask("/ready")).status).toBe(503);
	let ready = true;
	metrics.look = { memory: () => 4096, busy: () => 2, ready: () => ready };
	expect((await ask("/ready?x")).status).toBe(200);
	const made = { policy: "exact", first: 10, whole: 40, scales: [[3, 20] as [number, number]], memory: 4096 };
	metrics.ended("exact", "done", made);
	metrics.ended("exact", "handed-back", undefined);
	const { text } = await ask("/metrics");
	for (const line of [
		"firstlight_gpu_device_bytes 4096",
		"firstlight_gpu_busy 2",
		"firstlight_gpu_ready 1",
		'firstlight_gpu_pictures_total{policy="exact",outcome="done"} 1',
		'firstlight_gpu_pictures_total{policy="exact",outcome="handed-back"} 1',
		'firstlight_gpu_scale_seconds_sum{scale="3"} 0.02',
	])
		expect(text.split("\n")).toContain(line);
	ready = false;
	expect((await ask("/ready")).status).toBe(503);
	expect((await ask("/live", "POST")).status).toBe(404);
	expect((await ask("/__proto__")).status).toBe(404);
	await expect(watchedAt(port, "127.0.0.1")).rejects.toThrow(SettingsError);
	server.close();
});

it("lines are for people, or JSON with time, level and ids", () => {
	const lines: string[] = [];
	const write = (line: string) => void lines.push(line);
	workerLog({ LOG_FORMAT: "text", WORKER_ID: "w" }, write)("it is done", { job: "j" });
	workerLog({ LOG_FORMAT: "json", WORKER_ID: "w" }, write)("it is done", { job: "j", attempt: 2, level: "warn" });
	expect(lines[0]).toBe("[worker] it is done");
	expect(JSON.parse(lines[1])).toEqual({
		time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
		level: "warn",
		message: "it is done",
		worker: "w",
		job: "j",
		attempt: 2,
	});
});
