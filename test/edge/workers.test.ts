/** Workers' credentials: registration, tokens in a name, two secrets at a time, and one that is revoked. */
import { env } from "cloudflare:workers";
import { afterEach, expect, it } from "vitest";
import { signClaims } from "../../worker/edge/auth/claims.ts";
import { signModelToken, signWorkerToken } from "../../worker/edge/auth/worker-token.ts";
import app from "../../worker/edge/index.ts";
import { type Env, settingsOf } from "../../worker/edge/settings.ts";
import { CONNECT_PATH, LOADING_PATH, REGISTER_PATH } from "../../worker/protocol/messages.ts";
import { ADMIN, delivered, edge, health, Peer, registered, SECRET, scaleEvent, workerToken } from "./peer.ts";
import { everybodyLeaves, pause, Reader, until } from "./reader.ts";

const NEXT = "the-next-secret-0123456789";
const settings = env as unknown as Env;
const edgeWith = (more: object) => (path: string, init: RequestInit) =>
	app.fetch(new Request(`http://localhost${path}`, init), { ...settings, ...more } as never);
const admin = (path: string, method = "GET") =>
	edgeWith({ ADMIN_SECRET: ADMIN })(`/v1/admin/workers${path}`, {
		method,
		headers: { authorization: `Bearer ${ADMIN}` },
	});

const revoked = new Set<string>();
const revoke = async (worker: string) => {
	revoked.add(worker);
	expect((await admin(`/${worker}`, "DELETE")).status).toBe(204);
};
afterEach(async () => {
	await everybodyLeaves();
	for (const worker of revoked) await admin(`/${worker}`, "POST");
	revoked.clear();
});

const dial = (token: string) =>
	edge(CONNECT_PATH, { headers: { upgrade: "websocket", authorization: `Bearer ${token}` } });
const codeOf = async (response: Response): Promise<[number, string]> => [
	response.status,
	((await response.json()) as { error: { code: string } }).error.code,
];

it("the registration secret buys a token in a worker's name, which ends by itself", async () => {
	const response = await registered("a", ["m"]);
	const { token, expires, models } = (await response.json()) as {
		token: string;
		expires: number;
		models: Record<string, string>;
	};
	expect(response.headers.get("cache-control")).toBe("no-store");
	expect(expires * 1000 - Date.now()).toBeGreaterThan(500_000);
	expect(Object.keys(models)).toEqual(["m"]);
	const { webSocket, status } = await dial(token);
	expect(status).toBe(101);
	webSocket?.accept();
	webSocket?.close(1000, "bye");
	const past = await signWorkerToken({ ...settings, WORKER_TOKEN_SECONDS: 1 }, "a");
	const foreign = await signWorkerToken({ ...settings, ADMIN_SECRET: NEXT }, "a");
	const ticket = await signClaims(settings, "ticket", { sub: "a", scope: "generate" }, 60);
	await new Promise((resolve) => setTimeout(resolve, 2100));
	for (const bad of ["x", past, foreign, ticket, await signModelToken(settings, "a"), models.m, token.slice(0, -1)])
		expect(await codeOf(await dial(bad))).toEqual([401, "invalid_secret"]);
	for (const secret of ["", "wrong-secret-0123456789", token])
		expect(await codeOf(await registered("a", [], secret))).toEqual([401, "invalid_secret"]);
	expect(await codeOf(await registered("a b"))).toEqual([400, "invalid_value"]);
});

it("a token is for its own name alone", async () => {
	const { token } = (await (await registered("a")).json()) as { token: string };
	const peer = new Peer((await dial(token)).webSocket!, { worker: "b" });
	peer.send(peer.hello());
	expect((await peer.next("refused")).reason).toBe("its token is for a, not for b");
	// Nor does a header of its own make it another.
	const forged = await edge(CONNECT_PATH, {
		headers: { upgrade: "websocket", authorization: `Bearer ${token}`, "x-firstlight-worker": "b" },
	});
	const second = new Peer(forged.webSocket!, { worker: "b" });
	second.send(second.hello());
	expect((await second.next("refused")).reason).toMatch(/its token is for a/);
});

it("the registration secret opens nothing but the registration, and an old worker is told so", async () => {
	const asked = await dial(SECRET);
	expect(asked.webSocket).toBeNull();
	const { error } = await asked.json();
	expect([asked.status, error.code]).toEqual([401, "registration_needed"]);
	expect(error.message).toMatch(/POST \/internal\/workers\/token.*older than this edge: upgrade it/);
	const said = edgeWith({ WORKER_SECRET_NEXT: NEXT })(LOADING_PATH, {
		method: "POST",
		headers: { "content-type": "application/json", authorization: `Bearer ${NEXT}` },
		body: JSON.stringify({ worker: "a", model: "test-32", part: "weights", done: 0.5 }),
	});
	expect(await codeOf(await said)).toEqual([401, "registration_needed"]);
	// Nor may one speak for another.
	const other = await edge(LOADING_PATH, {
		method: "POST",
		headers: { "content-type": "application/json", authorization: `Bearer ${await workerToken("a")}` },
		body: JSON.stringify({ worker: "b", model: "test-32", part: "weights", done: 0.5 }),
	});
	expect(await codeOf(other)).toEqual([400, "invalid_value"]);
});

/** A worker whose token ends within two seconds. */
async function brief(worker: string, more: object = {}): Promise<Peer> {
	const token = await signWorkerToken({ ...settings, WORKER_TOKEN_SECONDS: 1 }, worker);
	const peer = new Peer((await dial(token)).webSocket!, { worker, ...more });
	peer.send(peer.hello());
	const { renewSeconds } = await peer.next("welcome");
	expect(renewSeconds).toBeGreaterThan(0);
	expect(renewSeconds).toBeLessThanOrEqual(2);
	return peer;
}

it("a worker stays while its token is good: it renews it, or dials again and has its picture still", async () => {
	const goes = await brief("goes", { instance: "one" });
	const reader = await Reader.open("/v1/images/preview?prompt=x&cache=false");
	const lease = await goes.next("lease");
	const stays = await brief("stays");
	// A sign of its picture, which nothing else comes of until it is back.
	await pause(900);
	await delivered(lease, scaleEvent(lease, 0));
	stays.send({ type: "renew", token: await workerToken("stays") });
	expect((await stays.next("renewed")).renewSeconds).toBeGreaterThan(500);
	const beat = setInterval(() => [goes, stays].map((peer) => peer.heartbeat()), 100);
	await until(health, ({ workers }) => workers.length === 1);
	clearInterval(beat);
	expect(await goes.untilClosed()).toMatchObject({
		code: 4001,
		reason: "its token has ended; register and dial again",
	});
	expect(stays.closed).toBeNull();
	const { job, attempt } = lease;
	const back = await Peer.join({ worker: "goes", instance: "one", holding: [{ job, attempt }] });
	await back.finish({ ...lease, codes: [""] });
	expect((await reader.rest()).at(-1)!.event).toBe("final");
	expect([back.inbox, stays.inbox]).toEqual([[], []]);
});

it.each([
	["another worker's", () => workerToken("other")],
	["the secret", async () => SECRET],
	["one for a model", () => signModelToken(settings, "a")],
	["one of another edge", () => signWorkerToken({ ...settings, ADMIN_SECRET: NEXT }, "a")],
])("nothing else renews a token: not %s", async (_, token) => {
	const peer = await Peer.join({ worker: "a" });
	peer.send({ type: "renew", token: await token() });
	expect((await peer.next("refused")).reason).toBe("its new token is no good one for a");
	expect((await peer.untilClosed()).code).toBe(1008);
});

it("two secrets are good while one takes over from the other", async () => {
	const register = (secret: string, more: object) =>
		edgeWith(more)(REGISTER_PATH, {
			method: "POST",
			headers: { "content-type": "application/json", authorization: `Bearer ${secret}` },
			body: '{"worker":"a"}',
		});
	const steps: [more: object, old: number, next: number][] = [
		[{}, 200, 401],
		[{ WORKER_SECRET_NEXT: NEXT }, 200, 200],
		[{ WORKER_SECRET: NEXT }, 401, 200],
	];
	for (const [more, old, next] of steps)
		expect([(await register(SECRET, more)).status, (await register(NEXT, more)).status]).toEqual([old, next]);
});

it.each(["ADMIN_SECRET", "WORKER_SECRET_NEXT"])("a wrong %s is refused, and does not count as none", async (name) => {
	for (const secret of ["", "short", "a secret with spaces", "sch\u00f6n-gross-und-lang", "x".repeat(513)]) {
		expect(() => settingsOf({ ...settings, [name]: secret })).toThrow(new RegExp(`must [^]*${name}$`));
		expect((await edgeWith({ [name]: secret })("/v1/models", {})).status).toBe(500);
	}
});

it("a worker that is revoked is dropped, its picture goes on elsewhere, and it does not come back", async () => {
	const bad = await Peer.join({ worker: "bad" });
	const reader = await Reader.open("/v1/images/preview?prompt=x");
	await bad.next("lease");
	await Peer.join({ worker: "good", automatic: true });
	const listed = await (await admin("")).json();
	expect(listed.data).toMatchObject([
		{ worker: "bad", state: "connected", busy: 1 },
		{ worker: "good", state: "connected" },
	]);
	const { token } = (await (await registered("bad")).json()) as { token: string };
	await revoke("bad");
	expect((await bad.next("refused")).reason).toMatch(/revoked/);
	expect((await reader.rest()).at(-1)!.event).toBe("final");
	expect(await codeOf(await registered("bad"))).toEqual([403, "worker_revoked"]);
	// A token of before is of no use either.
	const again = new Peer((await dial(token)).webSocket!, { worker: "bad" });
	again.send(again.hello());
	expect((await again.next("refused")).reason).toMatch(/revoked/);
	expect((await (await admin("")).json()).data).toMatchObject([
		{ worker: "good" },
		{ worker: "bad", state: "revoked" },
	]);
	expect((await admin("/bad", "POST")).status).toBe(204);
	expect((await registered("bad")).status).toBe(200);
});

it("what a revoked worker had in hand it cannot deliver any more, though nobody else has it yet", async () => {
	const bad = await Peer.join({ worker: "bad" });
	const reader = await Reader.open("/v1/images/preview?prompt=x&cache=false");
	const lease = await bad.next("lease");
	await delivered(lease, scaleEvent(lease, 0));
	await revoke("bad");
	await until(health, ({ queue }) => queue === 1);
	expect((await delivered(lease, scaleEvent(lease, 1))).go).toBe("stop");
	const good = await Peer.join({ worker: "good" });
	const next = await good.next("lease");
	expect(next.codes).toEqual([scaleEvent(lease, 0).codes]);
	await good.finish(next);
	expect((await reader.rest()).map(({ event }) => event)).toEqual(["plan", ...Array(4).fill("scale"), "final"]);
	await admin("/bad", "POST");
});

it("only who looks after them may", async () => {
	for (const [path, method] of [
		["", "GET"],
		["/a", "DELETE"],
		["/a", "POST"],
	])
		expect((await edge(`/v1/admin/workers${path}`, { method })).status).toBe(403);
	expect((await admin("/a%20b", "DELETE")).status).toBe(400);
});
