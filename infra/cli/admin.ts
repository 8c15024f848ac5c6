/** The edge's admin routes, asked by who looks after it. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { edgeUrl } from "../../worker/gpu/settings.ts";
import { refusal } from "../../worker/protocol/client.ts";
import { ADMIN_FILE, defaultStateDir } from "../start/state.ts";
import { UsageError } from "./usage.ts";

/** For the help of commands that use it. */
export const SECRET_HELP =
	"\nADMIN_SECRET is the edge's, or FIRSTLIGHT_KEY a key with the scope admin; that of an `npm start` on this\n" +
	"machine is found in STATE_DIR.";

export type Ask = (method: "GET" | "POST" | "DELETE", path: string, body?: object) => Promise<unknown>;

/** Asks below /v1/admin: the JSON of the answer, null where it has none. Throws what the edge says. */
export function asker(url: string, signal: AbortSignal): Ask {
	if (!URL.canParse(url) || !/^https?:/.test(url)) throw new UsageError(`--url ${url} is no http or https address.`);
	const secret = secretFor(new URL(url));
	return async (method, path, body) => {
		const response = await fetch(edgeUrl(url, `/v1/admin${path}`), {
			method,
			headers: { authorization: `Bearer ${secret}`, ...(body && { "content-type": "application/json" }) },
			...(body && { body: JSON.stringify(body) }),
			redirect: "error",
			signal,
		});
		if (!response.ok) throw await refusal(response);
		if (response.status === 204) return null;
		return response.json().catch(() => {
			throw new Error(`${url} answers, but not as Firstlight's edge does. See that the address is right.`);
		});
	};
}

/** What was given; else, for an edge on this machine, what its `npm start` wrote down. */
function secretFor({ hostname }: URL): string {
	const given = process.env.ADMIN_SECRET || process.env.FIRSTLIGHT_KEY;
	if (given) return given;
	if (["localhost", "127.0.0.1", "[::1]"].includes(hostname)) {
		const file = join(resolve(process.env.STATE_DIR || defaultStateDir()), ADMIN_FILE);
		const secret = /^ADMIN_SECRET=(\w+)$/m.exec(textOf(file))?.[1];
		if (secret) return secret;
	}
	throw new UsageError(
		"ADMIN_SECRET: no secret of that edge is known.",
		"Set ADMIN_SECRET, or FIRSTLIGHT_KEY to a key with the scope admin, or STATE_DIR to that of an `npm start`.",
	);
}

function textOf(file: string): string {
	try {
		return readFileSync(file, "utf8");
	} catch {
		return "";
	}
}
