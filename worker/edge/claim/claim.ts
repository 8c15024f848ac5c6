/**
 * What a name stands for, for a time: the answer to an idempotency key, or the job of a finished picture. Names are
 * made with the edge's secret, and values hold no prompt.
 */
import { DurableObject } from "cloudflare:workers";
import type { ClaimObject, Hold, Taken } from "../objects.ts";
import { type Env, type Settings, settingsOf } from "../settings.ts";

interface Kept {
	/** Of what was asked under the name. */
	fingerprint: string;
	/** Whoever took it; absent where nobody had to. */
	by?: string;
	/** Null while it is being made. */
	value: string | null;
	until: number;
}

/**
 * Whoever took the name and has not come back by then will not come back: what waits for others waits as long as the
 * settings say, the rest takes seconds.
 */
const makingMs = ({ RETURN_SECONDS, MODERATION_SECONDS }: Settings): number =>
	1000 * (30 + RETURN_SECONDS + MODERATION_SECONDS);

export class Claim extends DurableObject<Env> implements ClaimObject {
	/** The first one gets the name, and either keeps a value under it or drops it. */
	async take(fingerprint: string): Promise<Taken> {
		const kept = this.#kept();
		if (!kept) {
			const by = crypto.randomUUID();
			await this.#put({ fingerprint, by, value: null, until: Date.now() + makingMs(settingsOf(this.env)) });
			return { is: "new", hold: { fingerprint, by } };
		}
		if (kept.fingerprint !== fingerprint) return { is: "other" };
		return kept.value === null ? { is: "busy" } : { is: "kept", value: kept.value };
	}

	/** `hold`: of whoever took it. One who came back too late leaves it to the next, who has taken it since. */
	async keep(value: string, until: number, hold?: Hold): Promise<void> {
		const kept = this.#kept();
		if (hold && kept && kept.by !== hold.by) return;
		await this.#put({ fingerprint: "", ...kept, ...hold, value, until });
	}

	/** The name is free again, where it stands for that value, or is still held so. */
	async drop(of: string | Hold): Promise<void> {
		const kept = this.#kept();
		if (typeof of === "string" ? kept?.value === of : kept?.by === of.by) await this.#forget();
	}

	async value(): Promise<string | null> {
		return this.#kept()?.value ?? null;
	}

	override async alarm(): Promise<void> {
		if (!this.#kept()) await this.#forget();
	}

	#kept(): Kept | undefined {
		const kept = this.ctx.storage.kv.get<Kept>("kept");
		return kept && kept.until > Date.now() ? kept : undefined;
	}

	async #put(kept: Kept): Promise<void> {
		this.ctx.storage.kv.put("kept", kept);
		await this.ctx.storage.setAlarm(kept.until);
	}

	async #forget(): Promise<void> {
		await this.ctx.storage.deleteAlarm();
		await this.ctx.storage.deleteAll();
	}
}
