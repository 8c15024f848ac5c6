/**
 * One key, or one address that has none: what it may do, and what it has taken. A request asks once. Counts are in
 * memory; those of the day are kept, so that nobody gets a new day out of an eviction.
 */
import { DurableObject } from "cloudflare:workers";
import type { Limits, Scope } from "../../protocol/api-key.ts";
import { sameSecret } from "../auth/token.ts";
import type { AccountObject, Entered, KeyRecord, Pass } from "../objects.ts";
import type { Env } from "../settings.ts";
import { later, leftOf, nothingTaken, type Taken, take } from "./bucket.ts";

export class Account extends DurableObject<Env> implements AccountObject {
	#record: KeyRecord | undefined;
	#taken: Taken | undefined;

	constructor(ctx: DurableObjectState, env: Env) {
		super(ctx, env);
		this.#record = ctx.storage.kv.get<KeyRecord>("record");
		this.#taken = ctx.storage.kv.get<Taken>("taken");
	}

	async open(record: KeyRecord): Promise<void> {
		if (this.#record) throw new Error("this key exists already");
		this.#keep(record);
	}

	async revoke(at: number): Promise<boolean> {
		if (!this.#record) return false;
		this.#keep({ ...this.#record, revoked: this.#record.revoked ?? at });
		return true;
	}

	async enter(pass: Pass, pictures: number): Promise<Entered> {
		const now = Date.now();
		const known = await this.#known(pass, now);
		if (known === null) return { refused: "unknown" };
		const { limits, scopes } = known;
		const before = this.#taken ? later(this.#taken, limits, now) : nothingTaken(limits, now);
		const taken = take(before, limits, pictures, now);
		if ("refused" in taken) return { ...taken, limits, left: leftOf(before, limits, now) };
		this.#take(taken.taken, pictures > 0);
		return { scopes, limits, left: leftOf(taken.taken, limits, now) };
	}

	async settle(pictures: number): Promise<void> {
		if (!this.#taken) return;
		this.#take({ ...this.#taken, pictures: Math.max(0, this.#taken.pictures + pictures) }, true);
	}

	/** Of an address: its day is over, and nothing is kept of it. */
	override async alarm(): Promise<void> {
		if (this.#record) return;
		this.#taken = undefined;
		await this.ctx.storage.deleteAll();
	}

	async #known(pass: Pass, now: number): Promise<{ limits: Limits; scopes: readonly Scope[] } | null> {
		if ("limits" in pass) return pass;
		const record = this.#record;
		if (!record || record.revoked !== null || (record.expires !== null && record.expires <= now)) return null;
		if ("ticket" in pass) return record;
		return (await sameSecret(record.hash, pass.hash)) ? record : null;
	}

	#take(taken: Taken, keep: boolean): void {
		const first = this.#taken === undefined;
		this.#taken = taken;
		if (!keep) return;
		this.ctx.storage.kv.put("taken", taken);
		if (first && !this.#record) this.ctx.waitUntil(this.ctx.storage.setAlarm(Date.now() + 86_400_000));
	}

	#keep(record: KeyRecord): void {
		this.#record = record;
		this.ctx.storage.kv.put("record", record);
	}
}
