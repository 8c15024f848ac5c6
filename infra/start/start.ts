/**
 * `npm start`: the edge (real workerd through wrangler) and its GPU workers on this machine, until Ctrl-C.
 * PORT (8787), GPU_WORKERS (1), MODELS (emoji-128,tiny), STATE_DIR (.firstlight).
 */
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { z } from "zod";
import { Children } from "./children.ts";
import { stateDir, WRANGLER_ENV, wrangler } from "./wrangler.ts";

const root = join(import.meta.dirname, "..", "..");
const READY_TIMEOUT_MS = 180_000;

const parsed = z
	.object({
		PORT: z.coerce.number().int().min(1).max(65535).default(8787),
		GPU_WORKERS: z.coerce.number().int().min(0).max(16).default(1),
		MODELS: z.string().default("emoji-128,tiny"),
		STATE_DIR: z.string().min(1).default(stateDir()),
	})
	.safeParse(process.env);
if (!parsed.success) fail(parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`).join("; "));
const { PORT, GPU_WORKERS, MODELS, STATE_DIR: state } = parsed.data as NonNullable<typeof parsed.data>;
const url = `http://localhost:${PORT}`;
if (!(await isFree(PORT))) fail(`Port ${PORT} is in use. Stop what uses it, or choose another: PORT=8788 npm start`);

const secret = randomBytes(24).toString("hex");
mkdirSync(state, { recursive: true });
const secretFile = join(state, "edge.env");
writeFileSync(secretFile, `WORKER_SECRET=${secret}\n`, { mode: 0o600 });

const children = new Children();
process.on("SIGINT", () => stop(0));
process.on("SIGTERM", () => stop(0));

children.start({
	name: "edge",
	command: wrangler(
		"dev",
		"--port",
		String(PORT),
		"--ip",
		"0.0.0.0",
		"--env-file",
		secretFile,
		"--persist-to",
		join(state, "edge"),
		"--inspector-port",
		"0",
		"--show-interactive-dev-session=false",
		"--log-level",
		"warn",
	),
	cwd: root,
	env: WRANGLER_ENV,
	// An edge that cannot run is not started again: the workers alone are no use.
	ended: (code) => stop(code || 1),
});
await until("the edge", async () => (await fetch(`${url}/healthz`)).status < 600);

for (let i = 0; i < GPU_WORKERS; i++) {
	children.start({
		name: `worker ${i}`,
		command: [process.execPath, join(root, "worker", "gpu", "main.ts")],
		cwd: root,
		env: { EDGE_URL: url, WORKER_SECRET: secret, MODELS, STATE_DIR: state, WORKER_ID: `local-${i}` },
		restart: true,
	});
}
if (GPU_WORKERS > 0) await until("a GPU worker", async () => (await fetch(`${url}/healthz`)).ok);
console.log(`Firstlight is ready on ${url}`);

async function until(what: string, ready: () => Promise<boolean>): Promise<void> {
	const deadline = Date.now() + READY_TIMEOUT_MS;
	while (Date.now() < deadline) {
		if (await ready().catch(() => false)) return;
		await new Promise((resolve) => setTimeout(resolve, 200));
	}
	console.error(`${what} did not become ready within ${READY_TIMEOUT_MS / 1000} s; the lines above say why.`);
	await stop(1);
}

async function stop(code: number): Promise<never> {
	await children.stop();
	process.exit(code);
}

function isFree(port: number): Promise<boolean> {
	return new Promise((resolve) => {
		const server = createServer();
		server.once("error", () => resolve(false));
		server.listen(port, "0.0.0.0", () => server.close(() => resolve(true)));
	});
}

function fail(message: string): never {
	console.error(message);
	process.exit(2);
}
