/**
 * Workers' tokens that end within seconds: both runtimes renew theirs, and keep the connection that they have; and a
 * picture that Deno makes.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect, it } from "vitest";
import { sse } from "./firstlight.ts";
import { Parts } from "./parts.ts";

const root = join(import.meta.dirname, "..", "..");
const LIFETIME_SECONDS = 4;

it("a worker on Node and one on Deno stay for longer than their tokens are good", async () => {
	const parts = await Parts.start("tiny", {
		WORKER_TOKEN_SECONDS: String(LIFETIME_SECONDS),
		HEARTBEAT_SECONDS: "1",
		STATUS_SECONDS: "0",
	});
	const deno = spawn(join(root, "node_modules", ".bin", "deno"), ["run", "-A", "worker/gpu/main.ts"], {
		cwd: root,
		env: { ...process.env, ...parts.workerSettings(), WORKER_ID: "deno" },
		stdio: ["ignore", "pipe", "inherit"],
	});
	const said: string[] = [];
	deno.stdout.on("data", (data) => said.push(...String(data).split("\n")));
	const admissions = (log: readonly string[]) => log.filter((line) => line.includes("] admitted by")).length;
	const workers = async () => {
		const { workers } = (await (await fetch(`${parts.url}/healthz`)).json()) as { workers: { runtime: string }[] };
		return workers.map(({ runtime }) => runtime).sort();
	};
	try {
		await parts.startWorker();
		while ((await workers()).length < 2) await new Promise((resolve) => setTimeout(resolve, 100));
		// Who looks has those dropped whose token has ended.
		for (const until = Date.now() + 2.5 * LIFETIME_SECONDS * 1000; Date.now() < until; ) {
			expect(await workers()).toEqual(["deno", "node"]);
			await new Promise((resolve) => setTimeout(resolve, 200));
		}
		expect([admissions(parts.log), admissions(said)]).toEqual([1, 1]);

		// Without the other, Deno's makes the picture; told to end, it ends well.
		await parts.killWorker();
		while ((await workers()).includes("node")) await new Promise((resolve) => setTimeout(resolve, 100));
		const events = await Array.fromAsync(sse(await fetch(`${parts.url}/v1/images/preview?prompt=a+cat&seed=5`)));
		expect(events.at(-1)).toMatchObject({ event: "final", data: { adapter: expect.stringContaining("wgpu") } });
		deno.kill("SIGTERM");
		await once(deno, "exit");
		expect(deno.exitCode).toBe(0);
	} finally {
		deno.kill("SIGKILL");
		await parts.stop();
	}
});
