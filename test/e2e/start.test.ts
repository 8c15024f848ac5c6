/** `npm start` itself: where it listens, what it says, what it needs, and that nothing outlives it. */
import { once } from "node:events";
import { createServer, get, request } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { networkInterfaces } from "node:os";
import chromium from "@sparticuz/chromium";
import { chromium as browserType } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../../infra/start/free-port.ts";
import { Firstlight, sse } from "./firstlight.ts";

const NOWHERE = "http://127.0.0.1:9";
/** Where tests run as root, it runs as a user to whom neither the checkout nor a home belongs. */
const NOBODY = process.getuid?.() === 0 ? 65_534 : undefined;
const BARE = {
	HOME: "/nonexistent",
	XDG_CACHE_HOME: "",
	FIRSTLIGHT_CACHE: "",
	SLOTS: "",
	STRICT: "",
	MODEL_ALIASES: "sdxl=tiny",
	// A proxy for the world, which is none for what runs here.
	NODE_USE_ENV_PROXY: "1",
	HTTP_PROXY: NOWHERE,
	HTTPS_PROXY: NOWHERE,
};

let firstlight: Firstlight;
let healthPort: number;
beforeAll(async () => {
	healthPort = await freePort();
	firstlight = await Firstlight.start({ ...BARE, HEALTH_PORT: String(healthPort) }, NOBODY);
});
afterAll(() => firstlight?.stop());

const port = () => new URL(firstlight.url).port;
const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
/** Status and body, under whatever name one asks; the code of what goes wrong. */
const asked = (url: string, host = "localhost") =>
	new Promise<{ status?: number; body: string; code?: string }>((resolve) =>
		get(url, { headers: { host } }, async (response) =>
			resolve({ status: response.statusCode, body: Buffer.concat(await response.toArray()).toString() }),
		).on("error", ({ code }: NodeJS.ErrnoException) => resolve({ code, body: "" })),
	);
const addresses = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
/** Of this machine, though not the one that is listened at. */
const others = [
	"127.0.0.2",
	...addresses.flatMap(({ internal, family, address }) => (!internal && family === "IPv4" ? [address] : [])),
];

it("says which adapter, which model, that it is ready, and no more", async () => {
	const said = [
		/^\[worker\] adapter: /,
		/^\[worker\] model tiny loaded and warm in \d+\.\d s$/,
		/^\[worker\] admitted by http:\/\/127\.0\.0\.1:\d+, ready for pictures$/,
		/^No API key is needed: only this machine can connect\.$/,
		/^Firstlight is ready on http:\/\/localhost:\d+$/,
	];
	// What takes long is told of while it does.
	const lines = () => firstlight.log.filter((line) => line && !/^\[worker\] \d+ of \d+ kernels compiled$/.test(line));
	// The worker's word may come after that of the start.
	while (lines().length < said.length) await sleep(20);
	for (const line of said) expect(lines()).toContainEqual(expect.stringMatching(line));
	expect(lines()).toHaveLength(said.length);
});

it("listens on this machine alone", async () => {
	for (const other of others) expect((await asked(`http://${other}:${port()}/healthz`)).code).toBe("ECONNREFUSED");
	expect((await asked(`http://127.0.0.1:${port()}/healthz`)).status).toBe(200);
	if (addresses.some(({ address }) => address === "::1"))
		expect((await asked(`http://[::1]:${port()}/healthz`, `[::1]:${port()}`)).status).toBe(200);
});

it.each([
	"/cdn-cgi/local/explorer",
	"/cdn-cgi/explorer",
	"/cdn-cgi/local/r2/public/firstlight-models/names/tiny.json",
	"/cdn-cgi/local/platform-proxy",
	"/cdn-cgi/local/scheduled",
	"/cdn-cgi/handler/scheduled",
])("has nothing of a development server: %s", async (path) => {
	const { status, body } = await asked(firstlight.url + path);
	expect(status).toBe(404);
	expect(JSON.parse(body)).toMatchObject({ error: { code: "not_found" } });
});

it("serves the page, and logs a line a picture", async () => {
	expect((await asked(firstlight.url)).body).toContain("<title>");
	const before = firstlight.log.length;
	const response = await fetch(`${firstlight.url}/v1/images/preview?prompt=a+secret+cat&seed=1`);
	expect((await Array.fromAsync(sse(response))).at(-1)).toMatchObject({ event: "final" });
	while (firstlight.log.length === before) await sleep(20);
	expect(firstlight.log.slice(before).filter(Boolean)).toEqual([
		expect.stringMatching(/^\[worker\] job [0-9a-f]{8}: picture of tiny by exact in \d+\.\d s$/),
	]);
});

it("its worker says how it is, on this machine alone", async () => {
	const ask = (path: string, host = "127.0.0.1") => asked(`http://${host}:${healthPort}${path}`);
	expect([(await ask("/live")).status, (await ask("/ready")).status]).toEqual([200, 200]);
	const { body } = await ask("/metrics");
	expect(body).toMatch(/^firstlight_gpu_pictures_total\{policy="exact",outcome="done"\} [1-9]/m);
	expect(body).toMatch(/^firstlight_gpu_device_bytes [1-9]\d{4,}$/m);
	expect((await asked(`${firstlight.url}/metrics`)).body).toMatch(
		/^firstlight_pictures_total\{policy="exact"\} [1-9]/m,
	);
	for (const other of others) expect((await ask("/live", other)).code).toBe("ECONNREFUSED");
});

it("a caller who leaves before the whole answer is noticed, and the pictures are not made", async () => {
	const [worker] = firstlight.workers();
	const health = async () =>
		(await (await fetch(`${firstlight.url}/healthz`)).json()) as { queue: number; workers: { busy: number }[] };
	// Held still, so that no picture can be finished before the caller leaves.
	process.kill(worker, "SIGSTOP");
	const leaving = new AbortController();
	const answer = fetch(`${firstlight.url}/v1/images/generations`, {
		method: "POST",
		headers: { "content-type": "application/json" },
		body: JSON.stringify({ model: "tiny", prompt: "a photo of a cat", n: 3 }),
		signal: leaving.signal,
	});
	for (let now = await health(); now.queue < 2 || now.workers[0].busy < 1; now = await health()) await sleep(20);
	leaving.abort();
	await expect(answer).rejects.toThrow(/abort/i);
	const left = performance.now();
	while ((await health()).queue > 0) await sleep(100);
	expect(performance.now() - left).toBeLessThan(10_000);
	const before = firstlight.log.length;
	process.kill(worker, "SIGCONT");
	while ((await health()).workers[0].busy > 0) await sleep(50);
	expect(firstlight.log.slice(before).join("\n")).not.toContain("picture of");
});

it("the page works behind a path", async () => {
	const proxy = createServer((asked, answer) => {
		const path = /^\/draw(\/.*)$/.exec(asked.url ?? "")?.[1];
		if (path === undefined) return void answer.writeHead(404).end();
		request(firstlight.url + path, { method: asked.method }, (response) => {
			answer.writeHead(response.statusCode ?? 500, response.headers);
			response.pipe(answer);
		}).end();
	}).listen(0, "127.0.0.1");
	await once(proxy, "listening");
	const browser = await browserType.launch({
		executablePath: await chromium.executablePath(),
		args: [...chromium.args, "--no-sandbox"],
		headless: true,
	});
	try {
		const page = await browser.newPage();
		const failed: string[] = [];
		page.on("response", (response) => {
			if (!response.ok()) failed.push(response.url());
		});
		await page.goto(`http://127.0.0.1:${(proxy.address() as AddressInfo).port}/draw/`);
		await page.fill("#prompt", "a photo of a cat");
		await page.click("#go");
		await page.waitForSelector('body[data-state="done"]', { timeout: 60_000 });
		expect(failed).toEqual([]);
	} finally {
		await browser.close();
		proxy.close();
	}
});

it("a second start on the same state folder says whose it is", async () => {
	expect(await Firstlight.tried({ STATE_DIR: firstlight.state, PORT: "1" })).toEqual({
		code: 2,
		said: expect.stringMatching(
			new RegExp(
				`^STATE_DIR: ${firstlight.state} is in use by another start \\(process \\d+, port ${port()}\\)\\..*\\n$`,
			),
		),
	});
});

it("the edge serves clients as the environment says", async () => {
	const { status, body } = await asked(`${firstlight.url}/v1/models/sdxl`);
	expect([status, JSON.parse(body).id]).toEqual([200, "tiny"]);
});

// All that can be wrong with them: infra/start/settings.test.ts.
it.each<[settings: Record<string, string>, said: RegExp]>([
	[{ SLOTS: "x" }, /^SLOTS: must be a whole number from 1 to 64\n$/],
	[{ FIRSTLIGHT_CACHE_GB: "lots" }, /^FIRSTLIGHT_CACHE_GB must be a number of gigabytes, not lots\..*\n$/],
	[{ HOST: "0.0.0.0", API_KEYS: "none" }, /^API_KEYS: none is for this machine alone, .* Leave one out\.\n$/],
	[{ HOST: "203.0.113.7" }, /^HOST: 203\.0\.113\.7 is no address of this machine \(\w+\)\.\n$/],
	[{ STATE_DIR: "/proc/none" }, /^STATE_DIR \/proc\/none cannot be written: .*\n$/],
])("a wrong setting ends the start with one line: %j", async (settings, said) => {
	expect(await Firstlight.tried(settings)).toEqual({ code: 2, said: expect.stringMatching(said) });
});

it("a port in use is said", async () => {
	const { code, said } = await Firstlight.tried({ PORT: port() });
	expect(said).toMatch(new RegExp(`^PORT: ${port()} is in use\\..*\\n$`));
	expect(code).toBe(2);
});

const alive = (pids: number[]) =>
	pids.filter((pid) => {
		try {
			return process.kill(pid, 0);
		} catch {
			return false;
		}
	});

describe("nothing outlives it", () => {
	const gone = async (pids: number[]) => {
		for (const deadline = Date.now() + 10_000; alive(pids).length > 0 && Date.now() < deadline; ) await sleep(50);
		expect(alive(pids)).toEqual([]);
	};

	it("killed without a word", async () => {
		const started = firstlight.descendants().map(({ pid }) => pid);
		expect(started.length).toBeGreaterThan(2);
		await firstlight.stop("SIGKILL");
		await gone(started);
	});

	it("its terminal closed; told to, it listened elsewhere and said so", async () => {
		const open = await Firstlight.start({ GPU_WORKERS: "0", HOST: "0.0.0.0" });
		expect(open.log.filter(Boolean)).toEqual([
			expect.stringMatching(
				/^Listening on 0\.0\.0\.0, port \d+: whoever reaches this machine there needs an API key\.$/,
			),
			"API keys are needed: npx firstlight keys mint NAME",
			`Firstlight is ready on ${open.url}`,
		]);
		for (const other of others)
			expect((await asked(`http://${other}:${new URL(open.url).port}/healthz`)).status).toBe(503);
		const models = (key?: string) =>
			fetch(`${open.url}/v1/models`, { headers: key ? { authorization: `Bearer ${key}` } : {} });
		expect((await models()).status).toBe(401);
		const keys = async (...args: string[]) => JSON.parse(await open.cli("keys", ...args, "--url", open.url, "--json"));
		const { id, key } = await keys("mint", "studio", "--per-day", "5");
		expect((await models(key)).headers.get("x-ratelimit-limit-images")).toBe("5");
		expect((await keys("list")).data).toMatchObject([{ id, name: "studio", revoked: null }]);
		expect(await keys("revoke", id)).toMatchObject({ id, revoked: expect.any(Number) });
		expect((await models(key)).status).toBe(401);
		const workers = async (...args: string[]) =>
			JSON.parse(await open.cli("workers", ...args, "--url", open.url, "--json")).data;
		expect(await workers("revoke", "stray")).toEqual([{ worker: "stray", state: "revoked" }]);
		expect(await workers("admit", "stray")).toEqual([]);
		const started = open.descendants().map(({ pid }) => pid);
		expect(await open.stop("SIGHUP")).toBe(0);
		await gone(started);
	});

	it("its edge killed: workerd ends, and so does the start", async () => {
		const edgeless = await Firstlight.start({ GPU_WORKERS: "0" });
		const started = edgeless.descendants();
		const [edge] = started.filter(({ command }) => command.includes("start/edge.ts"));
		process.kill(edge.pid, "SIGKILL");
		await gone(started.map(({ pid }) => pid));
		while (!edgeless.log.some((line) => line.includes("[edge] ended (SIGKILL)"))) await sleep(20);
		expect(await edgeless.stop()).not.toBe(0);
	});
});

it("what is not ready in time ends, though nobody ever answers", async () => {
	const silent = createTcpServer(() => {}).listen(0, "127.0.0.1");
	await once(silent, "listening");
	const begun = performance.now();
	const { code, said } = await Firstlight.tried({
		PORT: port(),
		READY_SECONDS: "4",
		MODELS: `http://127.0.0.1:${(silent.address() as AddressInfo).port}/model`,
	});
	silent.close();
	expect(said).toMatch(/(A GPU worker|The edge) did not become ready within 4 s/);
	expect(code).toBe(1);
	// One try of a download alone is given up after half a minute.
	expect(performance.now() - begun).toBeLessThan(30_000);
});
