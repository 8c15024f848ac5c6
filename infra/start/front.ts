/**
 * Takes connections for workerd and hands them on, byte for byte. workerd by itself notices a caller who left only when
 * it next writes to him, which for a whole answer is when all is made; here his connection to it is broken at once.
 */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** `inner`: where workerd listens now. Throws what listening throws. */
export async function front(address: string, port: number, inner: () => Promise<URL>): Promise<Server> {
	// Half open, so that an answer's last bytes are not lost when workerd closes first.
	const server = createServer({ allowHalfOpen: true, noDelay: true }, async (caller) => {
		caller.on("error", () => caller.destroy());
		const to = await inner().catch(() => undefined);
		if (to && !caller.destroyed) handOn(caller, connect({ host: to.hostname, port: Number(to.port), noDelay: true }));
		else caller.destroy();
	});
	server.listen(port, address);
	await once(server, "listening");
	return server;
}

function handOn(caller: Socket, edge: Socket): void {
	const left = () => edge.resetAndDestroy();
	caller.once("end", left).once("close", left);
	edge.on("error", () => caller.destroy()).once("close", () => caller.end());
	caller.pipe(edge, { end: false });
	edge.pipe(caller);
}
