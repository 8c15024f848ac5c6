/**
 * `npm start`: the edge (real workerd) and its GPU workers on this machine, until Ctrl-C. What it reads of the
 * environment: settings.ts, and docs/operating.md.
 */
import { randomBytes } from "node:crypto";
import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cacheFolder } from "../../kernels/gpu/native/cache-settings.ts";
import type { OperatorSettings } from "../../worker/protocol/operator-settings.ts";
import { compiledIn } from "../cli/compile-cache.ts";
import { checkEnvironment } from "../cli/environment.ts";
import { outputFolder } from "../cli/output.ts";
import { UsageError } from "../cli/usage.ts";
import { Children } from "./children.ts";
import { healthOf } from "./health.ts";
import { isLoopback, listenAddresses, urlOf } from "./listen.ts";
import { readStartSettings } from "./settings.ts";
import { ADMIN_FILE, hold, stateFolder, writableFolder } from "./state.ts";

const root = join(import.meta.dirname, "..", "..");
const children = new Children();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => stop(0));
// A terminal that was closed takes no more lines, and ending goes on without it.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});

try {
	await start();
} catch (error) {
	// Nothing was started yet: a setting is wrong, or its place cannot be used.
	const hint = error instanceof UsageError && error.hint ? ` ${error.hint}` : "";
	console.error(`${(error as Error).message}${hint}`);
	process.exit(2);
}

async function start(): Promise<void> {
	checkEnvironment({ ...process.env, EDGE_URL: undefined });
	const {
		PORT,
		HOST,
		GPU_WORKERS,
		MODELS,
		STATE_DIR: state,
		READY_SECONDS,
		HEALTH_PORT,
		operator,
	} = readStartSettings(process.env);
	await outputFolder("STATE_DIR", state);
	const addresses = await holdAddresses(state, PORT, HOST);
	const url = urlOf(addresses[0], PORT);
	const keys = apiKeys(operator, addresses);
	const [secret, admin] = [0, 1].map(() => randomBytes(24).toString("hex"));
	// For a worker of another terminal, and apart from it, for `firstlight keys` (docs/operating.md).
	writeFileSync(join(state, "edge.env"), `WORKER_SECRET=${secret}\n`, { mode: 0o600 });
	writeFileSync(join(state, ADMIN_FILE), `ADMIN_SECRET=${admin}\n`, { mode: 0o600 });
	for (const open of addresses.filter((address) => !isLoopback(address)))
		console.log(`Listening on ${open}, port ${PORT}: whoever reaches this machine there needs an API key.`);
	console.log(
		keys === "none"
			? "No API key is needed: only this machine can connect."
			: "API keys are needed: npx firstlight keys mint NAME",
	);

	let awaited = "The edge";
	const late = setTimeout(() => {
		console.error(`${awaited} did not become ready within ${READY_SECONDS} s; the lines above say why.`);
		stop(1);
	}, READY_SECONDS * 1000);
	const common = { cwd: root, env: await commonEnvironment(state) };
	const edge = stateFolder(state, "edge");
	const temporary = join(edge, "tmp");
	rmSync(temporary, { recursive: true, force: true });
	await writableFolder(temporary, temporary);
	await new Promise<void>((ready) =>
		children.start({
			...common,
			name: "edge",
			script: [join(import.meta.dirname, "edge.ts")],
			env: {
				...common.env,
				ADDRESSES: addresses.join(","),
				PORT: String(PORT),
				WORKER_SECRET: secret,
				ADMIN_SECRET: admin,
				API_KEYS: keys,
				STATE_DIR: edge,
				TMPDIR: temporary,
				// Its configuration is read by wrangler, which has nothing to say here.
				WRANGLER_LOG: "none",
				WRANGLER_LOG_PATH: temporary,
			},
			heard: () => ready(),
			// An edge that cannot run is not started again: the workers alone are no use.
			ended: (code) => stop(code || 1),
		}),
	);

	awaited = "A GPU worker";
	let ready = false;
	for (let i = 0; i < GPU_WORKERS; i++) {
		children.start({
			...common,
			name: `worker ${i}`,
			script: [join(root, "worker", "gpu", "main.ts")],
			env: {
				...common.env,
				EDGE_URL: url,
				WORKER_SECRET: secret,
				MODELS,
				WORKER_ID: `local-${i}`,
				// One after the other.
				HEALTH_PORT: HEALTH_PORT === undefined ? "" : String(HEALTH_PORT + i),
			},
			restart: true,
			// Where there is no GPU it takes all cores, and who asks the edge would wait for it.
			givesWay: true,
			// What keeps it from its first start will not be gone at the next.
			ended: (code) => ready || stop(code || 1),
		});
	}
	while (GPU_WORKERS > 0 && (await healthOf(url)) !== 200) await new Promise((resolve) => setTimeout(resolve, 200));
	ready = true;
	clearTimeout(late);
	console.log(`Firstlight is ready on ${url.replace("127.0.0.1", "localhost")}`);
}

/** Whether clients need keys: not where only this machine can connect, unless it is said or a proxy is. */
function apiKeys({ API_KEYS, PUBLIC_URL }: OperatorSettings, addresses: readonly string[]): "required" | "none" {
	const alone = addresses.every(isLoopback);
	if (API_KEYS === "none" && !alone)
		throw new UsageError("API_KEYS: none is for this machine alone, and HOST lets others connect.", "Leave one out.");
	return API_KEYS ?? (alone && PUBLIC_URL === undefined ? "none" : "required");
}

/** Takes the state folder and the addresses for this process. Throws what says why they cannot be had. */
async function holdAddresses(state: string, port: number, host: string | undefined): Promise<string[]> {
	// From within, for a socket's path is short.
	process.chdir(state);
	const holder = await hold("start.sock", `process ${process.pid}, port ${port}`);
	if (holder !== undefined)
		throw new UsageError(
			`STATE_DIR: ${state} is in use by another start${holder && ` (${holder})`}.`,
			"Stop that one, or give this one a folder of its own: STATE_DIR=DIR npm start",
		);
	return await listenAddresses(port, host);
}

/**
 * What edge and workers find beside our own environment: places they can write to though the system's cannot be
 * written, and no proxy between each other.
 */
async function commonEnvironment(state: string): Promise<Record<string, string>> {
	const { NO_PROXY = "", no_proxy = NO_PROXY } = process.env;
	const direct = [no_proxy, "localhost", "127.0.0.1", "[::1]"].filter(Boolean).join(",");
	const cache = process.env.FIRSTLIGHT_CACHE || (await writableFolder(cacheFolder(), stateFolder(state, "cache")));
	return {
		NO_PROXY: direct,
		no_proxy: direct,
		TMPDIR: await writableFolder(tmpdir(), stateFolder(state, "tmp")),
		FIRSTLIGHT_CACHE: cache,
		NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE || compiledIn(cache),
	};
}

async function stop(code: number): Promise<never> {
	await children.stop();
	process.exit(code);
}
