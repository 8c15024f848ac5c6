import { waitUntil } from "cloudflare:workers";

/** Goes on with what was begun though its caller leaves: the runtime would end it at its next step, half done. */
export function outlasting<T>(work: Promise<T>): Promise<T> {
	waitUntil(work.catch(() => {}));
	return work;
}
