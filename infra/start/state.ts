/** The folder in which `npm start` keeps its state, held by one process at a time. */
import { rmSync } from "node:fs";
import { access, constants, mkdir } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { Temporary } from "../temporary.ts";

/** Where `npm start` keeps its state, unless STATE_DIR says otherwise. */
export const defaultStateDir = (): string => join(import.meta.dirname, "..", "..", ".firstlight");

/** What an edge's keeper needs, of the state's. */
export const ADMIN_FILE = "admin.env";

/** A folder of the state's. */
export const stateFolder = (state: string, name: "edge" | "tmp" | "cache"): string => join(state, name);

/**
 * Takes a socket's name for this process, as a lock that ends with it however it ends. Whoever asks there is told
 * `said`. Gives what another process says that has it already, else undefined.
 *
 * `path`: at most 100 characters or so; systems allow no more.
 */
export async function hold(path: string, said: string): Promise<string | undefined> {
	for (;;) {
		const server = createServer((client) => client.on("error", () => {}).end(said)).unref();
		const problem = await new Promise<string | undefined>((resolve) => {
			server.once("error", ({ code }: NodeJS.ErrnoException) => resolve(code));
			server.listen(path, () => resolve(undefined));
		});
		if (problem === undefined) {
			new Temporary(path);
			return undefined;
		}
		// A file system that knows no sockets can be held by nobody.
		if (problem !== "EADDRINUSE") return undefined;
		const holder = await ask(path);
		if (holder !== undefined) return holder;
		// Whoever left it there was killed.
		rmSync(path, { force: true });
	}
}

/** Undefined where nobody listens. */
async function ask(path: string): Promise<string | undefined> {
	const client = connect(path);
	client.setTimeout(2000, () => client.destroy());
	return await text(client).catch((error: NodeJS.ErrnoException) =>
		["ECONNREFUSED", "ENOENT"].includes(error.code ?? "") ? undefined : "",
	);
}

/** `folder` where files can be written into it, else `otherwise`. */
export async function writableFolder(folder: string, otherwise: string): Promise<string> {
	try {
		await mkdir(folder, { recursive: true });
		await access(folder, constants.W_OK | constants.X_OK);
		return folder;
	} catch {
		await mkdir(otherwise, { recursive: true });
		return otherwise;
	}
}
