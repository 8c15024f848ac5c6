/** The readers' way to the edge, byte for byte, which can break. */
import { once } from "node:events";
import type { AddressInfo, Server, Socket } from "node:net";
import { setImmediate } from "node:timers/promises";
import { breakOff, front } from "../../start/front.ts";

export class Line implements AsyncDisposable {
	readonly url: string;
	readonly #server: Server;
	readonly #callers = new Set<Socket>();

	private constructor(server: Server) {
		this.#server = server;
		this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
		server.on("connection", (caller) => {
			this.#callers.add(caller);
			caller.once("close", () => this.#callers.delete(caller));
		});
	}

	static async to(url: string): Promise<Line> {
		return new Line(await front("127.0.0.1", 0, async () => new URL(url)));
	}

	/**
	 * Resolves when those who called from this process can know: until then one may still send by a connection that he
	 * kept.
	 */
	async cut(): Promise<void> {
		for (const caller of this.#callers) breakOff(caller);
		for (let turn = 0; turn < 2; turn++) await setImmediate();
	}

	async [Symbol.asyncDispose](): Promise<void> {
		const closed = once(this.#server, "close");
		this.#server.close();
		await this.cut();
		await closed;
	}
}
