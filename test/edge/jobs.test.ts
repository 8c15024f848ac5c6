/** Jobs as a resource: made once, kept, told of, deleted. */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { Webhook } from "standardwebhooks";
import { afterEach, describe, expect, inject, it } from "vitest";
import app from "../../worker/edge/index.ts";
import { addressProblem } from "../../worker/edge/job/webhook.ts";
import { type Env, settingsOf } from "../../worker/edge/settings.ts";
import { follow } from "../../worker/protocol/client.ts";
import { createJobs, getJob, type JobAsk, removeJob } from "../../worker/protocol/job-client.ts";
import { type JobResource, WebhookMessage } from "../../worker/protocol/jobs.ts";
import { post } from "./client.ts";
import { delivered, edge, finalEvent, MODEL, newKey, ORIGIN, Peer, scaleEvent } from "./peer.ts";
import { everybodyLeaves, pause, Reader, until } from "./reader.ts";
import type { Received } from "./receiver.ts";

afterEach(everybodyLeaves);

const options = {
	url: ORIGIN,
	fetch: (url: string, init: RequestInit) => edge(url.replace(ORIGIN, ""), init),
};
let seed = 1000;
/** Each with a seed of its own, so that none is found again. */
const ask = (more: JobAsk = {}): JobAsk => ({ prompt: "a red apple", seed: seed++, ...more });
const create = async (more: JobAsk = {}) => (await createJobs(ask(more), options))[0];
const look = (job: { id: string }) => getJob(job.id, options);
const gone = async ({ id }: { id: string }) => (await edge(`/v1/jobs/${id}`)).status === 404;
const json = { "content-type": "application/json" };

const settings = env as unknown as Env;
/** The same binding, where these calls of its objects fail for as long as `fails` says so. */
function failing<Binding extends object>(binding: Binding, calls: readonly string[], fails = () => true): Binding {
	const get = (id: DurableObjectId) =>
		new Proxy((binding as unknown as { get(id: DurableObjectId): object }).get(id), {
			get: (stub, name: string) => (calls.includes(name) && fails() ? failed : Reflect.get(stub, name)),
		});
	const failed = () => Promise.reject(new Error("out of reach"));
	return new Proxy(binding, {
		get(target, name) {
			const value = Reflect.get(target, name);
			return name === "get" ? get : typeof value === "function" ? value.bind(target) : value;
		},
	});
}
const askOf = async (edge: Env, path: string, init?: RequestInit): Promise<Response> =>
	app.fetch(new Request(`${ORIGIN}${path}`, init), edge as never);

describe("a job", () => {
	it("is where its address says, behind a path too", async () => {
		await Peer.join({ automatic: true });
		const settings = { ...(env as unknown as Env), PUBLIC_URL: "https://example.org/firstlight/" };
		const init = { method: "POST", headers: json, body: JSON.stringify(ask({ mode: "background" })) };
		const response = await app.fetch(new Request(`${ORIGIN}/v1/jobs`, init), settings as never);
		const [{ id, links }] = ((await response.json()) as { data: JobResource[] }).data;
		expect(links.self).toBe(`https://example.org/firstlight/v1/jobs/${id}`);
		expect(response.headers.get("location")).toBe(links.self);
		await until(
			() => look({ id }),
			({ state }) => state === "done",
		);
	});

	it("is shown as far as it knows itself where its pool does not answer", async () => {
		const peer = await Peer.join();
		const half = { ...settings, POOL: failing(settings.POOL, ["standing"]) };
		const answer = await askOf(half, "/v1/jobs", { method: "POST", headers: json, body: JSON.stringify(ask()) });
		expect(answer.status).toBe(201);
		const [{ id, ...job }] = ((await answer.json()) as { data: JobResource[] }).data;
		expect(job).toMatchObject({ place: null, estimate_seconds: null, scales: { made: 0 } });
		expect((await askOf(half, `/v1/jobs/${id}`)).status).toBe(200);
		await peer.finish(await peer.next("lease"));
		expect((await look({ id })).state).toBe("done");
	});

	it("that may take longer than others says how long that was", async () => {
		await Peer.join();
		const { id } = await create({ ttl_seconds: 5 });
		const events = await (await Reader.open(`/v1/jobs/${id}/events`)).rest();
		expect(events.at(-1)!.data).toMatchObject({ code: "deadline", message: expect.stringMatching(/ 5 seconds\./) });
	});

	it("is made, waits, runs, is done, and its picture is had by its link", async () => {
		const peer = await Peer.join();
		const response = await post(ask({ mode: "background" }), json, "/v1/jobs");
		expect(response.status).toBe(201);
		const [first] = ((await response.json()) as { data: JobResource[] }).data;
		expect(response.headers.get("location")).toBe(first.links.self);
		const second = await create();
		const lease = await peer.next("lease");
		expect(await look(first)).toMatchObject({ state: "running", place: null, scales: { made: 0, of: 4 } });
		expect(await look(second)).toMatchObject({ state: "queued", place: 0, ended_at: null, links: { image: null } });
		expect((await create()).place).toBe(1);
		await delivered(lease, scaleEvent(lease, 0));
		expect((await look(first)).scales.made).toBe(1);
		for (const index of [1, 2, 3]) await delivered(lease, scaleEvent(lease, index));
		await delivered(lease, finalEvent(lease));
		peer.release(lease);
		const done = await look(first);
		expect(done).toMatchObject({ state: "done", place: null, error: null, policy: "exact", plan: lease.request.plan });
		expect(done.ended_at).toBeGreaterThanOrEqual(done.created_at);
		const picture = await edge(done.links.image!.replace(ORIGIN, ""));
		expect(picture.headers.get("content-type")).toBe("image/png");
		expect(btoa(String.fromCharCode(...new Uint8Array(await picture.arrayBuffer())))).toBe(finalEvent(lease).base64);
		for (const forged of [
			`/v1/jobs/${second.id}/image?${done.links.image!.split("?")[1]}`,
			`/v1/jobs/${first.id}/image`,
		])
			expect((await edge(forged)).status).toBe(403);
		await removeJob(second.id, options);
	});

	it("in the background needs no reader; an interactive one ends without", async () => {
		const peer = await Peer.join({ slots: 2 });
		const kept = await create();
		const watched = await create({ mode: "interactive" });
		const leases = [await peer.next("lease"), await peer.next("lease")];
		await until(
			() => look(watched),
			({ state }) => state === "failed",
		);
		expect((await look(watched)).error).toMatchObject({ code: "abandoned" });
		await peer.finish(leases.find(({ job }) => job === kept.id)!);
		expect((await look(kept)).state).toBe("done");
	});

	it("is kept for its time to live, and ends where it is not made within it", async () => {
		const peer = await Peer.join();
		const made = await create({ ttl_seconds: 1 });
		await peer.finish(await peer.next("lease"));
		const { ended_at, expires_at } = await look(made);
		expect(expires_at! - ended_at!).toBeLessThanOrEqual(2);
		await until(() => gone(made), Boolean);
		const refused = await post(ask({ ttl_seconds: 5, mode: "interactive" }), json, "/v1/jobs");
		expect(await refused.json()).toMatchObject({ error: { param: "ttl_seconds" } });
	});

	it("tells its events from the beginning, after the last one seen, and as they come", async () => {
		const peer = await Peer.join();
		const { id } = await create();
		const lease = await peer.next("lease");
		await delivered(lease, scaleEvent(lease, 0));
		const early = await Reader.open(`/v1/jobs/${id}/events`);
		const late = await Reader.open(`/v1/jobs/${id}/events`, { headers: { "last-event-id": `${id}.1` } });
		await peer.finish({ ...lease, codes: [""] });
		const all = await early.rest();
		expect(all.map(({ id }) => Number(id!.split(".")[1]))).toEqual([0, 1, 2, 3, 4, 5]);
		expect(await late.rest()).toEqual(all.slice(2));
		const client: string[] = [];
		for await (const { type } of follow({ job: id }, options)) client.push(type);
		expect(client).toEqual(["plan", "scale", "scale", "scale", "scale", "final"]);
		expect((await edge(`/v1/jobs/${id}/events?lastEventId=${id}.5`)).status).toBe(204);
		const other = await edge(`/v1/jobs/${id}/events`, { headers: { "last-event-id": `${"ab".repeat(32)}.1` } });
		expect(other.status).toBe(400);
		await removeJob(id, options);
		expect((await edge(`/v1/jobs/${id}/events`)).status).toBe(404);
	});

	it("is cancelled by DELETE, and once it has ended deleted with prompt and pictures", async () => {
		const peer = await Peer.join();
		const running = await create();
		const lease = await peer.next("lease");
		await delivered(lease, scaleEvent(lease, 0));
		await removeJob(running.id, options);
		expect(await peer.next("cancel")).toMatchObject({ job: running.id });
		peer.release(lease);
		expect(await look(running)).toMatchObject({ state: "cancelled", error: { code: "cancelled" } });
		const done = await create();
		await peer.finish(await peer.next("lease"));
		const image = (await look(done)).links.image!.replace(ORIGIN, "");
		expect((await edge(image)).status).toBe(200);
		for (const { id } of [running, done]) await removeJob(id, options);
		expect([await gone(running), await gone(done)]).toEqual([true, true]);
		expect((await edge(image)).status).toBe(404);
		const { JOB } = env as unknown as Env;
		await evictDurableObject(JOB.get(JOB.idFromString(done.id)) as never);
		expect(await gone(done)).toBe(true);
	});

	it("says how long it will take, once its worker has made one", async () => {
		const peer = await Peer.join({ worker: "never-measured" });
		const first = await create();
		expect(first.estimate_seconds).toBeNull();
		const lease = await peer.next("lease");
		await pause(300);
		await peer.finish(lease);
		await until(
			() => look(first),
			({ state }) => state === "done",
		);
		await pause(50);
		const [running, waiting] = [await create(), await create()];
		await peer.next("lease");
		const [soon, later] = [(await look(running)).estimate_seconds!, (await look(waiting)).estimate_seconds!];
		expect(soon).toBeGreaterThanOrEqual(0);
		expect(soon).toBeLessThan(1);
		expect(later).toBeGreaterThan(soon);
		for (const { id } of [running, waiting]) await removeJob(id, options);
	});

	it("of a batch is queued with all others or not at all", async () => {
		const peer = await Peer.join({ slots: 4 });
		const batch = await createJobs(ask({ n: 4, until: 1 }), options);
		expect(new Set(batch.map(({ seed }) => seed)).size).toBe(4);
		for (const { id, until } of batch) {
			const lease = await peer.next("lease");
			expect([until, lease.request.until]).toEqual([1, 1]);
			for (const index of [0, 1]) await delivered(lease, scaleEvent(lease, index));
			await delivered(lease, { ...finalEvent(lease), width: 16, height: 16 });
			peer.release(lease);
			expect(await look({ id })).toMatchObject({ scales: { of: 2 } });
		}
		await Promise.all(
			batch.map((one) =>
				until(
					() => look(one),
					({ state }) => state === "done",
				),
			),
		);
		for (const n of [0, 10]) expect((await post(ask({ n }), json, "/v1/jobs")).status).toBe(400);
	});
});

describe("what is wrong with a request is said, and nothing is queued", () => {
	it.each<[string, object, string]>([
		["no subject", { prompt: null }, "prompt"],
		["two", { class: 1 }, "class"],
		["a policy and a plan", { policy: "exact", plan: [] }, "plan"],
		["a policy and a quality", { policy: "exact", quality: "low" }, "quality"],
		["a schedule and a size", { schedule: "1:1", size: "auto" }, "size"],
		["an unknown mode", { mode: "later" }, "mode"],
		["an unknown field", { steps: 20 }, "steps"],
		["half a beginning", { scales: 2 }, "scales"],
		["a webhook without HTTPS", { webhook: { url: "http://example.com/" } }, "webhook.url"],
		["a webhook of this house's neighbours", { webhook: { url: "https://10.0.0.1/" } }, "webhook.url"],
		["a webhook with nothing to sign with", { webhook: { url: "https://example.com/" } }, "webhook.secret"],
		["a secret that is none", { webhook: { url: "https://example.com/", secret: "whsec_short" } }, "webhook.secret"],
		[
			"a secret that is no base64",
			{ webhook: { url: "https://example.com/", secret: `whsec_${"A".repeat(33)}` } },
			"webhook.secret",
		],
	])("%s", async (_, fields, param) => {
		const peer = await Peer.join();
		const response = await post({ ...ask(), ...fields }, json, "/v1/jobs");
		expect(response.status).toBe(400);
		expect(await response.json()).toMatchObject({ error: { param } });
		expect(peer.inbox).toEqual([]);
	});

	it("jobs that there are not", async () => {
		for (const id of ["x", "ab".repeat(32)])
			for (const path of ["", "/events"]) expect((await edge(`/v1/jobs/${id}${path}`)).status).toBe(404);
	});
});

describe("Idempotency-Key", () => {
	const send = (body: object, key: string, more: Record<string, string> = {}) =>
		post(body, { ...json, "idempotency-key": key, ...more }, "/v1/jobs");

	/** Jobs of this request that a worker has got, once it has all of them. */
	const leased = async (peer: Peer, { seed }: JobAsk) => {
		await pause(50);
		return peer.inbox.flatMap((one) => (one.type === "lease" && one.request.seed === seed ? one.job : []));
	};

	it("does the same request once, and answers it alike", async () => {
		const peer = await Peer.join({ slots: 4 });
		const body = ask();
		const first = await send(body, "one");
		const again = await send(body, "one");
		expect([first.status, again.status]).toEqual([201, 201]);
		expect(again.headers.get("location")).toBe(first.headers.get("location"));
		expect(again.headers.get("idempotent-replayed")).toBe("true");
		const { data } = (await first.json()) as { data: JobResource[] };
		expect(await again.json()).toEqual({ object: "list", data });
		expect((await peer.next("lease")).job).toBe(data[0].id);
		await pause(50);
		expect(peer.inbox).toEqual([]);
		const other = await send({ ...body, prompt: "another" }, "one");
		expect([other.status, await other.json()]).toEqual([
			422,
			expect.objectContaining({ error: expect.objectContaining({ code: "idempotency_key_reused" }) }),
		]);
		// Another caller's key of the same name is another one.
		const theirs = { authorization: `Bearer ${await newKey()}` };
		expect((await send({ ...body, prompt: "theirs" }, "one", theirs)).status).toBe(201);
	});

	it("is refused while the first one is being answered, and free after one that failed", async () => {
		const bodies = [ask(), ask()];
		const refused = await send(bodies[0], "two");
		expect(refused.status).toBe(503);
		await Peer.join({ slots: 4 });
		const answers = await Promise.all([0, 1, 2, 3].map(() => send(bodies[0], "two")));
		const by = Map.groupBy(answers, ({ status }) => status);
		expect([...by.keys()].every((status) => status === 201 || status === 409)).toBe(true);
		expect(new Set(by.get(201)!.map(({ headers }) => headers.get("location"))).size).toBe(1);
		expect(by.get(409)?.[0].headers.get("retry-after") ?? "1").toBe("1");
		expect((await send(bodies[1], "k".repeat(256))).status).toBe(400);
	});

	it("stands for what was queued, also where nothing can be said of that yet", async () => {
		const peer = await Peer.join({ slots: 4 });
		let gone = true;
		const edge = { ...settings, JOB: failing(settings.JOB, ["facts"], () => gone) };
		const body = ask();
		const init = { method: "POST", headers: { ...json, "idempotency-key": "three" }, body: JSON.stringify(body) };
		const send = () => askOf(edge, "/v1/jobs", init);
		expect([(await send()).status, (await send()).status]).toEqual([500, 500]);
		gone = false;
		const [told, again] = [await send(), await send()];
		expect([told.status, told.headers.get("idempotent-replayed")]).toEqual([201, "true"]);
		const list = (await told.json()) as { data: JobResource[] };
		expect(told.headers.get("location")).toBe(list.data[0].links.self);
		expect([again.headers.get("location"), await again.json()]).toEqual([told.headers.get("location"), list]);
		expect(await leased(peer, body)).toEqual(list.data.map(({ id }) => id));
	});

	it("is in use, and nothing is done twice, where the answer could not be kept", async () => {
		const peer = await Peer.join({ slots: 4 });
		const edge = { ...settings, CLAIM: failing(settings.CLAIM, ["keep"]) };
		const body = ask();
		const init = { method: "POST", headers: { ...json, "idempotency-key": "four" }, body: JSON.stringify(body) };
		const answers = [await askOf(edge, "/v1/jobs", init), await askOf(settings, "/v1/jobs", init)];
		expect(answers.map(({ status }) => status)).toEqual([201, 409]);
		expect(await leased(peer, body)).toHaveLength(1);
	});

	it("is held for as long as its answer may take by the edge's settings", async () => {
		const objects = env as unknown as Env;
		const claim = objects.CLAIM.get(objects.CLAIM.idFromName("slow"));
		const taken = await claim.take("request");
		if (taken.is !== "new") throw new Error(`The name is ${taken.is}.`);
		const held = await runInDurableObject(
			claim as never,
			(_, { storage }) => storage.kv.get<{ until: number }>("kept")!.until - Date.now(),
		);
		const { RETURN_SECONDS, MODERATION_SECONDS } = settingsOf(objects);
		expect(held).toBeGreaterThan(1000 * (29 + RETURN_SECONDS + MODERATION_SECONDS));
		await claim.drop(taken.hold);
		expect(await claim.take("request")).toMatchObject({ is: "new" });
	});

	it("is the next one's where whoever took it comes back too late, and still stands for its request", async () => {
		const { CLAIM } = env as unknown as Env;
		const claim = CLAIM.get(CLAIM.idFromName("late"));
		const take = async () => {
			const taken = await claim.take("request");
			if (taken.is !== "new") throw new Error(`The name is ${taken.is}.`);
			return taken.hold;
		};
		const late = () =>
			runInDurableObject(claim as never, (_, { storage }) =>
				storage.kv.put("kept", { ...storage.kv.get<object>("kept"), until: 1 }),
			);
		const later = Date.now() + 60_000;
		const first = await take();
		await late();
		const second = await take();
		await claim.keep("of the first", later, first);
		await claim.drop(first);
		expect(await claim.take("request")).toEqual({ is: "busy" });
		await claim.keep("of the second", later, second);
		expect(await claim.take("request")).toEqual({ is: "kept", value: "of the second" });
		// Nobody else came meanwhile.
		await claim.drop("of the second");
		const alone = await take();
		await late();
		await claim.keep("late", later, alone);
		expect([await claim.take("request"), await claim.take("another")]).toEqual([
			{ is: "kept", value: "late" },
			{ is: "other" },
		]);
	});
});

describe("webhooks", () => {
	const secret = `whsec_${btoa("a secret of twenty-four b")}`;
	const receiver = inject("receiver");
	const at = async (path: string) => (await (await fetch(`${receiver}${path}`)).json()) as Received[];
	const told = (path: string, count = 1) =>
		until(
			() => at(path),
			({ length }) => length >= count,
		);
	const verified = ({ headers, body }: Received) => WebhookMessage.parse(new Webhook(secret).verify(body, headers));

	it("tell of the end, signed as Standard Webhooks has it, with no word of the prompt", async () => {
		const peer = await Peer.join();
		const job = await create({ webhook: { url: `${receiver}/done/200`, secret } });
		expect(job.webhook).toEqual({ state: "waiting", tries: 0 });
		await peer.finish(await peer.next("lease"));
		const [message] = await told("/done/200");
		expect(message.headers["webhook-id"]).toMatch(/^msg_\w+$/);
		expect(message.body).not.toContain("apple");
		const { type, data } = verified(message);
		expect([type, data.id, data.state]).toEqual(["job.done", job.id, "done"]);
		expect((await edge(data.links.image!.replace(ORIGIN, ""))).status).toBe(200);
		await until(
			() => look(job),
			({ webhook }) => webhook?.state === "delivered",
		);
		expect(() => new Webhook(secret).verify(`${message.body} `, message.headers)).toThrow();
	});

	it("tell of a job that was cancelled, too", async () => {
		await Peer.join();
		const { id } = await create({ webhook: { url: `${receiver}/cancelled/204`, secret } });
		await removeJob(id, options);
		expect(verified((await told("/cancelled/204"))[0])).toMatchObject({ type: "job.cancelled", data: { id } });
	});

	it("are tried again under the same id until they are taken, and follow no redirect", async () => {
		const peer = await Peer.join();
		const path = "/again/500,302,200";
		const job = await create({ webhook: { url: `${receiver}${path}`, secret } });
		await peer.finish(await peer.next("lease"));
		const messages = await told(path, 3);
		expect(new Set(messages.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
		for (const message of messages) verified(message);
		await until(
			() => look(job),
			({ webhook }) => webhook?.state === "delivered",
		);
		expect(await at("/redirected/200")).toEqual([]);
		await pause(300);
		expect(await at(path)).toHaveLength(3);
	});

	it("end where the receiver wants no more, and with their job", async () => {
		const peer = await Peer.join();
		const unwanted = await create({ webhook: { url: `${receiver}/unwanted/410`, secret } });
		await peer.finish(await peer.next("lease"));
		await until(
			() => look(unwanted),
			({ webhook }) => webhook?.state === "failed",
		);
		const deleted = await create({ webhook: { url: `${receiver}/deleted/500`, secret } });
		await peer.finish(await peer.next("lease"));
		await told("/deleted/500");
		await removeJob(deleted.id, options);
		// One may be on its way.
		await pause(100);
		const before = (await at("/deleted/500")).length;
		await pause(600);
		expect([(await at("/unwanted/410")).length, (await at("/deleted/500")).length - before]).toEqual([1, 0]);
	});

	it.each<[string, boolean, string | null]>([
		["https://example.com/hook?x=1", false, null],
		["https://example.com./hook", false, null],
		["http://example.com/", false, "must be https"],
		["http://127.0.0.1:9/", false, "must be https"],
		["http://127.0.0.1:9/", true, null],
		["http://127.0.0.1.example.com/", true, "must be https"],
		["ftp://example.com/", false, "must be https"],
		["nonsense", false, "is no address"],
		["https://user:word@example.com/", false, "must hold no user and password"],
		...[
			"127.0.0.1",
			"10.1.2.3",
			"0x7f.1",
			"2130706433",
			"[::1]",
			"[fd00::1]",
			"localhost",
			"localhost.",
			"edge",
			"a.localhost",
			"printer.local",
			"db.internal",
			"nas.lan",
			"x.home.arpa",
		].map((host): [string, boolean, string] => [
			`https://${host}/`,
			true,
			"must be the name of a host that everybody can reach",
		]),
	])("go to %s (of one's own machine: %s): %s", (url, here, problem) => {
		expect(addressProblem(url, here)).toBe(problem);
	});
});

it("the typed client says what was refused", async () => {
	await Peer.join();
	await expect(createJobs({ prompt: "x", model: "nope" }, options)).rejects.toMatchObject({
		status: 404,
		code: "model_not_found",
		message: expect.stringContaining(MODEL.id),
	});
});
