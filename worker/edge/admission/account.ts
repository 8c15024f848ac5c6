/**
 * One key, or one address that has none: what it may do, and what it has taken, in whatever pool. A request asks once,
 * and again for the pictures that it begins. Requests are counted in memory; pictures are kept, so that nobody gets a
 * new day out of an eviction.
 */
import { DurableObject } from "cloudflare:workers";
import type { Limits, Scope } from "../../protocol/api-key.ts";
import { sameSecret } from "../auth/token.ts";
import type { AccountObject, Charged, Entered, KeyRecord, Pass } from "../objects.ts";
import type { Env } from "../settings.ts";
import { DAY, type Left, later, leftOf, nothingTaken, spend, type Taken, take } from "./bucket.ts";
import { Running } from "./running.ts";

export class Account extends DurableObject<Env> implements AccountObject {
	#record: KeyRecord | undefined;
	#taken: Taken | undefined;
	/** Whether anything of it is in storage. */
	#kept: boolean;
	readonly #running: Running;

	constructor(ctx: DurableObjectState, env: Env) {
		super(ctx, env);
		this.#record = ctx.storage.kv.get<KeyRecord>("record");
		this.#taken = ctx.storage.kv.get<Taken>("taken");
		this.#kept = this.#taken !== undefined;
		this.#running = new Running(env, ctx.storage.kv);
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

	async enter(pass: Pass, begins: boolean): Promise<Entered> {
		const now = Date.now();
		const known = await this.#known(pass, now);
		if (known === null) return { refused: "unknown" };
		const { limits, scopes } = known;
		const before = this.#before(limits, now);
		const taken = take(before, limits);
		const refused = taken.refused ? taken : spend(before, limits, begins ? 1 : 0, now);
		if (refused.refused) return { ...refused, limits, left: leftOf(before, limits, now) };
		if (taken.refused === undefined) this.#take(taken.taken, false);
		return { scopes, limits, left: leftOf(this.#taken!, limits, now) };
	}

	async charge(limits: Limits, jobs: readonly string[], until: number): Promise<Charged> {
		if (!(await this.#running.roomFor(jobs.length, limits.concurrent))) return { refused: "busy" };
		const now = Date.now();
		const spent = spend(this.#before(limits, now), limits, jobs.length, now);
		if (spent.refused) return spent;
		this.#take(spent.taken, true);
		this.#running.begin(jobs, until);
		return { left: leftOf(spent.taken, limits, now) };
	}

	async giveBack(limits: Limits, jobs: readonly string[]): Promise<Left> {
		const now = Date.now();
		const before = this.#before(limits, now);
		const pictures = Math.max(0, before.pictures - this.#running.end(jobs).length);
		this.#take({ ...before, pictures }, true);
		return leftOf(this.#taken!, limits, now);
	}

	async ended(job: string): Promise<void> {
		this.#running.end([job]);
	}

	/** What was taken, as of now. */
	#before(limits: Limits, now: number): Taken {
		return this.#taken ? later(this.#taken, limits, now) : nothingTaken(limits, now);
	}

	/** Of an address: once its day is over and its pictures are made, nothing is kept of it. */
	override async alarm(): Promise<void> {
		if (this.#record) return;
		const today = Math.floor(Date.now() / DAY);
		if ((this.#taken?.day ?? 0) >= today || this.#running.any(Date.now())) return this.#forgetAt(today + 1);
		[this.#taken, this.#kept] = [undefined, false];
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
		this.#taken = taken;
		if (!keep) return;
		this.ctx.storage.kv.put("taken", taken);
		const first = !this.#kept;
		this.#kept = true;
		if (first && !this.#record) this.ctx.waitUntil(this.#forgetAt(taken.day + 1));
	}

	/** When that day begins. */
	#forgetAt(day: number): Promise<void> {
		return this.ctx.storage.setAlarm(day * DAY);
	}

	#keep(record: KeyRecord): void {
		this.#record = record;
		this.ctx.storage.kv.put("record", record);
	}
}
