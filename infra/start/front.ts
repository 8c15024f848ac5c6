/**
 * Takes connections for workerd and hands them on, byte for byte. workerd by itself notices a caller who left only when
 * it next writes to him, which for a whole answer is when all is made; here his connection to it is broken at once.
 */
import { once } from "node:events";
import { createServer, type Server, Socket } from "node:net";

/** A caller who has all of his answer may take so long to close. */
export const LINGER_MS = 2000;

/** `inner`: where workerd listens now. Throws what listening throws. */
export async function front(address: string, port: number, inner: () => Promise<URL>): Promise<Server> {
	// Half open, so that an answer's last bytes are not lost when workerd closes first.
	const server = createServer({ allowHalfOpen: true, noDelay: true }, async (caller) => {
		caller.on("error", () => caller.destroy());
		const to = await inner().catch(() => undefined);
		if (to && !caller.destroyed) handOn(caller, breakable(to.hostname, Number(to.port)));
		else caller.destroy();
	});
	server.listen(port, address);
	await once(server, "listening");
	return server;
}

/** Breaks a connection, if it is not being closed already. */
export function breakOff(socket: Socket): void {
	if (socket.writableEnded) socket.destroy();
	else socket.resetAndDestroy();
}

function handOn(caller: Socket, edge: Socket): void {
	const left = () => edge.resetAndDestroy();
	caller.once("end", left).once("close", left);
	// An answer that came before it broke is still the caller's.
	edge.on("error", () => {}).once("close", () => end(caller));
	caller.pipe(edge, { end: false });
	edge.pipe(caller);
}

/** After all that is still to be handed on. What goes nowhere now is read nevertheless: his own end shows only then. */
function end(caller: Socket): void {
	caller.resume().end(() => setTimeout(() => caller.destroy(), LINGER_MS).unref());
}

/**
 * Connects. It is closed whole or broken, and never only its own half: Node cannot break a socket whose half it is
 * just closing (libuv answers EINVAL), and then keeps its descriptor for good. That befell one of ten whose other side
 * closed first, as after `Connection: close`.
 */
function breakable(host: string, port: number): Socket {
	const socket = new Socket();
	socket._final = (done) => done();
	return socket.setNoDelay(true).connect({ host, port });
}
