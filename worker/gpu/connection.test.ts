/** The worker's side of its connection, against edges that misbehave. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { afterEach, expect, test } from "vitest";
import { type Hello, type Holding, VERSIONS } from "../protocol/messages.ts";
import { Connection } from "./connection.ts";
import { RegistrationRefused } from "./registration.ts";
import { accepted } from "./testing/socket.ts";

let server: Server | undefined;
let connection: Connection | undefined;
const sockets: Duplex[] = [];
afterEach(() => {
	connection?.close();
	for (const socket of sockets.splice(0)) socket.destroy();
	server?.close();
});

const hello: Hello = {
	type: "hello",
	versions: VERSIONS,
	worker: "w",
	instance: "i",
	adapter: { name: "none", software: true, runtime: "node", driver: "" },
	models: [],
	slots: 1,
	capabilities: [],
	holding: [],
};

/** Dials an edge that answers each handshake, then says what it is given; and keeps a list of what happens. */
async function dial(
	answer: (say: (message: object) => void, hear: (heard: (message: { type: string }) => void) => void) => void,
	refuse?: { status: number; message: string; token?: string },
	noToken?: Error,
) {
	const seen: string[] = [];
	let admitted = false;
	let tokens = 0;
	let changed = () => {};
	const see = (what: string) => {
		seen.push(what);
		changed();
	};
	const until = async (what: string, times = 1) => {
		while (seen.filter((each) => each.startsWith(what)).length < times)
			await new Promise<void>((resolve) => (changed = resolve));
	};
	/** Whoever comes, or with that token. */
	const refusal = ({ headers: { authorization } }: IncomingMessage) =>
		refuse?.token === undefined || authorization === `Bearer ${refuse.token}` ? refuse : undefined;
	server = createServer((request, response) => {
		const { status = 426, message = "" } = refusal(request) ?? {};
		response.writeHead(status).end(JSON.stringify({ error: { message } }));
	}).listen(0);
	server.on("upgrade", (request, socket) => {
		sockets.push(socket);
		socket.on("error", () => {});
		see("dialled");
		const refused = refusal(request);
		if (refused) return socket.end(`HTTP/1.1 ${refused.status} No\r\ncontent-length: 0\r\n\r\n`);
		const { say, hear } = accepted(request, socket);
		answer(say, hear);
	});
	await once(server, "listening");
	connection = new Connection(
		`http://localhost:${(server.address() as AddressInfo).port}`,
		{
			current: async () => "token",
			async renewed() {
				if (noToken) throw noToken;
				see(`token ${++tokens}`);
				return `token ${tokens}`;
			},
		},
		{
			hello: () => hello,
			holding: () => [],
			admitted: () => {
				admitted = true;
				see("admitted");
			},
			parted: () => {
				admitted = false;
			},
			refused: (reason) => see(`refused ${reason}`),
			leased: () => see("leased"),
			unreadable: ({ job, attempt }: Holding) => see(`unreadable ${job} ${attempt}`),
			cancelled: () => see("cancelled"),
			log: (line) => see(`log ${line}`),
		},
	);
	connection.dial();
	return { seen, until, admitted: () => admitted };
}

const welcome = { type: "welcome", version: VERSIONS.max, heartbeatSeconds: 0.1 };

test("an edge that falls silent on an open connection is dialled again", async () => {
	const { seen, until } = await dial((say) => say(welcome));
	await until("dialled", 3);
	expect(seen.filter((each) => !each.startsWith("log")).slice(0, 4)).toEqual([
		"dialled",
		"admitted",
		"dialled",
		"admitted",
	]);
});

test("a worker is admitted no longer than its connection lasts, and again after the next welcome", async () => {
	let [dials, rest] = [0, () => {}];
	const { until, admitted } = await dial((say) => {
		const welcomes = () => say({ ...welcome, heartbeatSeconds: dials > 1 ? 10 : 0.1 });
		if (++dials === 1) welcomes();
		else rest = welcomes;
	});
	await until("admitted");
	expect(admitted()).toBe(true);
	await until("dialled", 2);
	expect(admitted()).toBe(false);
	rest();
	await until("admitted", 2);
	expect(admitted()).toBe(true);
	connection?.close();
	expect(admitted()).toBe(false);
});

test("a secret that is refused is said in the edge's words, and is not tried again", async () => {
	const { seen, until } = await dial(() => {}, { status: 401, message: "The worker's secret is wrong." });
	await until("refused");
	const soFar = [...seen];
	expect(soFar.at(-1)).toBe("refused 401: The worker's secret is wrong.");
	// Once with the token that it had, once with another.
	expect(inShort(soFar)).toEqual(["dialled", "token 1", "dialled", soFar.at(-1)]);
	await new Promise((resolve) => setTimeout(resolve, 600));
	expect(seen).toEqual(soFar);
});

/** Without logs, and a repeated dial once: Node itself repeats one that is answered with 401. */
const inShort = (seen: string[]) => seen.filter((each, i) => !each.startsWith("log") && each !== seen[i - 1]);
const outdated = { status: 401, message: "The token is wrong.", token: "token" };

test("a kept token that is not good any more is changed for another one, until the worker is let in", async () => {
	const { seen, until } = await dial((say) => say({ ...welcome, heartbeatSeconds: 10 }), outdated);
	await until("admitted");
	const once = ["dialled", "token 1", "dialled", "admitted"];
	expect(inShort(seen)).toEqual(once);
	// From then on it dials with the token that is kept, as ever.
	connection?.dial();
	await until("admitted", 2);
	expect(inShort(seen)).toEqual([...once, "dialled", "token 2", "dialled", "admitted"]);
});

test("where no other token is to be had either, the worker ends, unless that can be asked for again", async () => {
	const wrong = await dial(() => {}, outdated, new RegistrationRefused("401: wrong"));
	await wrong.until("refused");
	expect(inShort(wrong.seen)).toEqual(["dialled", "refused 401: wrong"]);
	server?.close();
	const away = await dial(() => {}, outdated, new Error("503: later"));
	await away.until("log", 2);
	expect(inShort(away.seen)).toEqual(["dialled"]);
	expect(away.seen.find((each) => each.startsWith("log"))).toMatch(/503: later/);
});

test("an edge that has no room is dialled again, and what it said is logged", async () => {
	const { seen, until } = await dial(() => {}, { status: 503, message: "Its WORKER_SECRET is not set." });
	await until("dialled", 3);
	expect(seen.find((each) => each.startsWith("log"))).toMatch(/503: Its WORKER_SECRET is not set/);
});

test("what a later edge says beyond is passed over; a lease that asks for the unknown is handed back", async () => {
	const { seen, until } = await dial((say) => {
		say({ ...welcome, tomorrow: 1 });
		say({ type: "tomorrow" });
		say({ type: "lease", job: "j", attempt: 7, request: { plan: { version: 2 } } });
	});
	await until("unreadable");
	expect(seen.filter((each) => !each.startsWith("log"))).toEqual(["dialled", "admitted", "unreadable j 7"]);
});

test("a refusal is for good", async () => {
	const { seen, until } = await dial((say) => say({ type: "refused", reason: "replaced" }));
	await until("refused");
	await new Promise((resolve) => setTimeout(resolve, 600));
	expect(seen).toEqual(["dialled", "refused replaced"]);
});

test("a token is renewed before it ends, by the time that the edge says, and no more once it is refused", async () => {
	const renewSeconds = 1.2;
	const { seen, until } = await dial((say, hear) => {
		say({ ...welcome, heartbeatSeconds: 10, renewSeconds });
		hear((message) => message.type === "renew" && say({ type: "renewed", renewSeconds }));
	});
	const begun = Date.now();
	await until("token", 3);
	expect(Date.now() - begun).toBeLessThan(3 * renewSeconds * 1000);
	expect(seen.filter((each) => !each.startsWith("log"))).toEqual([
		"dialled",
		"admitted",
		"token 1",
		"token 2",
		"token 3",
	]);
});

test("an edge that says nothing of it gets no other token", async () => {
	const { seen } = await dial((say) => say({ ...welcome, heartbeatSeconds: 10 }));
	await new Promise((resolve) => setTimeout(resolve, 1500));
	expect(seen).toEqual(["dialled", "admitted"]);
});

test("where no new token is to be had it is asked for again, unless it was refused", async () => {
	for (const [error, least, most] of [
		[new Error("503: later"), 2, 20],
		[new RegistrationRefused("401: wrong"), 1, 1],
	] as const) {
		const { seen } = await dial((say) => say({ ...welcome, heartbeatSeconds: 10, renewSeconds: 4 }), undefined, error);
		await new Promise((resolve) => setTimeout(resolve, 3800));
		const tried = seen.filter((each) => each.startsWith("log the token could not be renewed"));
		expect(tried.length).toBeGreaterThanOrEqual(least);
		expect(tried.length).toBeLessThanOrEqual(most);
		expect(seen.filter((each) => each === "dialled").length).toBe(1);
		connection?.close();
		server?.close();
	}
});
