import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** A network between a worker and its edge that a test can cut. */
export class Wire {
	readonly url: string;
	#server: Server;
	#sockets = new Set<Socket>();

	private constructor(server: Server, url: string) {
		this.#server = server;
		this.url = url;
	}

	static async to(url: string): Promise<Wire> {
		const server = createServer().listen(0);
		await once(server, "listening");
		const wire = new Wire(server, `http://localhost:${(server.address() as { port: number }).port}`);
		server.on("connection", (near) => {
			const far = connect(Number(new URL(url).port), "localhost");
			for (const [from, to] of [
				[near, far],
				[far, near],
			]) {
				wire.#sockets.add(from);
				from.on("error", () => {});
				from.on("close", () => {
					wire.#sockets.delete(from);
					to.destroy();
				});
				from.pipe(to);
			}
		});
		return wire;
	}

	/** Every connection there is breaks; new ones are let through. */
	cut(): void {
		for (const socket of this.#sockets) socket.destroy();
	}

	close(): void {
		this.#server.close();
		this.cut();
	}
}
