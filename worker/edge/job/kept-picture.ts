/**
 * A job's finished picture, which lies in the bucket for pictures where one is bound, under the job's id, and else in
 * the job's own log. That something may lie there is noted with the job before it does, and until it is deleted:
 * whatever fails in between, nothing stays behind.
 */
import type { z } from "zod";
import { FinalEvent, type JobEvent } from "../../protocol/job.ts";
import { base64Of, bytesOf } from "../base64.ts";
import { logError } from "../log.ts";
import type { Env } from "../settings.ts";

/** A final event as the log has it: null where its picture lies in the bucket. */
export const LoggedFinal = FinalEvent.extend({ base64: FinalEvent.shape.base64.nullable() });
export type LoggedFinal = z.infer<typeof LoggedFinal>;
export type LoggedEvent = Exclude<JobEvent, FinalEvent> | LoggedFinal;

const NOTE = "picture";

export class KeptPicture {
	readonly #env: Env;
	readonly #kv: DurableObjectState["storage"]["kv"];
	readonly #job: string;
	/** One thing at a time, in the order in which they were asked for. */
	#last: Promise<unknown> = Promise.resolve();

	constructor(env: Env, { id, storage }: DurableObjectState) {
		this.#env = env;
		this.#kv = storage.kv;
		this.#job = id.toString();
	}

	/**
	 * Puts the picture away, then hands what the log is to have of it to `then`, unless it is not `wanted` any more. A
	 * bucket that does not take it costs nobody the picture: it stays in the log.
	 */
	keep(final: FinalEvent, wanted: () => boolean, then: (final: LoggedFinal) => void): Promise<void> {
		return this.#inTurn(async () => {
			if (!wanted()) return;
			const logged = (await this.#put(final)) ? { ...final, base64: null } : final;
			if (wanted()) then(logged);
			else await this.#drop();
		});
	}

	/** False where it could not be deleted, and is still noted. */
	drop(): Promise<boolean> {
		return this.#inTurn(() => this.#drop());
	}

	/** That something may lie there. */
	note(): void {
		this.#kv.put(NOTE, true);
	}

	async #put({ base64, mime, sha256 }: FinalEvent): Promise<boolean> {
		const bucket = this.#env.PICTURE_BUCKET;
		if (!bucket) return false;
		this.note();
		try {
			const about = { httpMetadata: { contentType: mime }, customMetadata: { sha256 } };
			await bucket.put(this.#job, bytesOf(base64), about);
			return true;
		} catch (error) {
			logError("picture not put away", { job: this.#job, message: String(error) });
			return false;
		}
	}

	async #drop(): Promise<boolean> {
		const bucket = this.#env.PICTURE_BUCKET;
		if (!bucket || !this.#kv.get(NOTE)) return true;
		try {
			await bucket.delete(this.#job);
			this.#kv.delete(NOTE);
			return true;
		} catch (error) {
			logError("picture not deleted", { job: this.#job, message: String(error) });
			return false;
		}
	}

	#inTurn<T>(run: () => Promise<T>): Promise<T> {
		const turn = this.#last.then(run);
		this.#last = turn.catch(() => {});
		return turn;
	}
}

/** The picture of a job out of the bucket; null where none lies there. */
export async function pictureIn({ PICTURE_BUCKET }: Env, job: string): Promise<R2ObjectBody | null> {
	return (await PICTURE_BUCKET?.get(job)) ?? null;
}

/** The event with its picture, wherever that lies; null where it is not kept any more. */
export async function withPicture(env: Env, job: string, final: LoggedFinal): Promise<FinalEvent | null> {
	const { base64 } = final;
	if (base64 !== null) return { ...final, base64 };
	const object = await pictureIn(env, job);
	return object && { ...final, base64: base64Of(new Uint8Array(await object.arrayBuffer())) };
}
