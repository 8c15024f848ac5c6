/**
 * The edge on this machine: the Worker of wrangler.toml in workerd, through Miniflare, without what a development
 * server brings along (an explorer of all data, a record of requests, files in the checkout). A process of its own,
 * whose parent says where; it does not outlive it.
 */
import { join } from "node:path";
import { build, stop } from "esbuild";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import { unstable_getMiniflareWorkerOptions } from "wrangler";
import { z } from "zod";
import { endWithParent } from "../../worker/gpu/parent.ts";
import { OperatorSettings } from "../../worker/protocol/operator-settings.ts";
import { buildPage } from "../page/build.ts";
import { clearForgotten } from "./forgotten.ts";
import { front } from "./front.ts";
import { V8_FLAGS, V8_FLAGS_VARIABLE } from "./v8.ts";

/** Of worker/edge/local.ts. */
const ENTRYPOINT = "local";
const root = join(import.meta.dirname, "..", "..");

/** What a parent says. */
const EdgeSettings = z.object({
	ADDRESSES: z.string().transform((list) => list.split(",")),
	PORT: z.coerce.number().int(),
	WORKER_SECRET: z.string().min(16),
	ADMIN_SECRET: z.string().min(16),
	STATE_DIR: z.string().min(1),
});

const CLEAR_MS = 60_000;

let edge: Miniflare | undefined;
const end = async () => {
	await edge?.dispose();
	process.exit(0);
};
endWithParent(end);
process.on("SIGTERM", end);
try {
	const settings = EdgeSettings.parse(process.env);
	keepClear(settings.STATE_DIR);
	process.env[V8_FLAGS_VARIABLE] ??= V8_FLAGS;
	const running = new Miniflare(await options(settings));
	edge = running;
	await running.ready;
	const inner = () => running.unsafeGetDirectURL("firstlight", ENTRYPOINT);
	for (const address of settings.ADDRESSES) await front(address, settings.PORT, inner);
	process.send?.("ready");
} catch (error) {
	console.error((error as Error).message);
	process.exit(1);
}

async function options({ WORKER_SECRET, ADMIN_SECRET, STATE_DIR }: z.infer<typeof EdgeSettings>) {
	const { workerOptions } = unstable_getMiniflareWorkerOptions(join(root, "wrangler.toml"));
	const { modulesRules: _, ...worker } = workerOptions;
	const site = join(STATE_DIR, "site");
	await buildPage(site);
	return convertV4MiniflareOptions({
		// Where nobody is told to connect: Miniflare has routes of its own there, which answer without a secret.
		host: "127.0.0.1",
		port: 0,
		cf: false,
		log: new Log(LogLevel.WARN, { prefix: "edge" }),
		logRequests: false,
		// What the edge only notes is for whoever collects logs of a deployment.
		handleStructuredLogs: ({ level, message }) => ["warn", "error"].includes(level) && console.error(message),
		// As wrangler lays it out: `publish` puts models into the same bucket.
		resourcePersistencePath: join(STATE_DIR, "v3"),
		workers: [
			{
				...worker,
				name: "firstlight",
				assets: { ...(worker.assets as object), directory: site, binding: "ASSETS" },
				bindings: {
					...(worker.bindings as Record<string, string> | undefined),
					WORKER_SECRET,
					ADMIN_SECRET,
					// No proxy of Cloudflare's is before it: whoever sends that header has written it.
					CLIENT_ADDRESS_HEADER: "",
					...passedOn(),
				},
				modules: [{ type: "ESModule", path: join(root, "edge.js"), contents: await bundle() }],
				modulesRoot: root,
				unsafeDirectSockets: [{ host: "127.0.0.1", port: 0, entrypoint: ENTRYPOINT }],
			},
		],
	});
}

/** Jobs and claims are made for every picture, and end; other objects stay. */
function keepClear(state: string): void {
	const clear = () => {
		for (const object of ["Job", "Claim"]) clearForgotten(join(state, "v3", "do", `firstlight-${object}`));
	};
	clear();
	setInterval(clear, CLEAR_MS).unref();
}

/** What the environment says of how the edge works: an empty variable is an unset one. */
function passedOn(): Record<string, string> {
	return Object.fromEntries(
		Object.keys(OperatorSettings.shape).flatMap((name) => {
			const value = process.env[name];
			return value ? [[name, value]] : [];
		}),
	);
}

/** The Worker as one module, as wrangler would deploy it, with its entry for this machine. */
async function bundle(): Promise<string> {
	const { outputFiles } = await build({
		entryPoints: [join(root, "worker", "edge", "local.ts")],
		bundle: true,
		write: false,
		format: "esm",
		target: "es2024",
		conditions: ["workerd", "worker", "browser"],
		external: ["cloudflare:*", "node:*"],
		logLevel: "silent",
	});
	await stop();
	return outputFiles[0].text;
}
