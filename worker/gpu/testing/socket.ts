/** An edge's end of a WebSocket, for edges that say what no real one would, or when no real one would. */
import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";

export interface EdgeSocket {
	say(message: object): void;
	/** Tells of the JSON messages that come; pings are none. */
	hear(heard: (message: { type: string }) => void): void;
}

/** Answers the handshake. */
export function accepted({ headers }: IncomingMessage, socket: Duplex): EdgeSocket {
	const accept = createHash("sha1")
		.update(`${headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
		.digest("base64");
	socket.write(
		`HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
	);
	return {
		say(message) {
			const text = Buffer.from(JSON.stringify(message));
			const length = text.length < 126 ? [text.length] : [126, text.length >> 8, text.length & 255];
			socket.write(Buffer.concat([Buffer.from([0x81, ...length]), text]));
		},
		hear: (heard) =>
			socket.on("data", (data: Buffer) => {
				for (const message of textsOf(data)) if (message.startsWith("{")) heard(JSON.parse(message));
			}),
	};
}

/** The texts of whole masked frames of less than 64 KiB each, as far as what came is such. */
function textsOf(data: Buffer): string[] {
	const texts: string[] = [];
	for (let at = 0; at < data.length && data[at] === 0x81; ) {
		const short = data[at + 1] & 127;
		const from = at + (short === 126 ? 4 : 2);
		const to = from + 4 + (short === 126 ? data.readUInt16BE(at + 2) : short);
		const mask = data.subarray(from, from + 4);
		texts.push(Buffer.from(data.subarray(from + 4, to).map((byte, i) => byte ^ mask[i % 4])).toString());
		at = to;
	}
	return texts;
}
