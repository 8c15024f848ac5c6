/**
 * For front.test.ts, each in a process of its own, since what it looks for is a race: `serve` answers and closes, as
 * after `Connection: close`, and says its port; `call PORT` asks again and again, without keeping its connections.
 */
import { Agent, get } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const CALLS = 300;

if (process.argv[2] === "serve") {
	const server = createServer({ noDelay: true }, (socket) => {
		socket.on("error", () => {});
		socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi"));
	}).listen(0, "127.0.0.1", () => process.send?.((server.address() as AddressInfo).port));
} else {
	for (let i = 0; i < CALLS; i++) {
		await new Promise<void>((done) =>
			get({ host: "127.0.0.1", port: Number(process.argv[3]), agent: new Agent() }, (response) =>
				response.resume().on("close", done),
			).on("error", () => done()),
		);
		await sleep(i % 4);
	}
	process.exit();
}
