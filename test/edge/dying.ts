/** A job that loses its memory at the worst moment: as it writes what it has told its readers. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import type { Env } from "../../worker/edge/settings.ts";

const { JOB } = env as unknown as Env;
const stubOf = (job: string) => JOB.get(JOB.idFromString(job)) as never;

/** From now on. */
export async function diesAtWrite(job: string): Promise<void> {
	await runInDurableObject(stubOf(job), (_, state) => {
		state.storage.transactionSync = () => {
			state.abort("the power went");
			throw new Error("the power went");
		};
	});
}

/** No longer. */
export async function lives(job: string): Promise<void> {
	await runInDurableObject(stubOf(job), (_, { storage }) => {
		delete (storage as { transactionSync?: unknown }).transactionSync;
	});
}
