/** The list of all keys, for whoever looks after them. What a key may do is its account's to know. */
import { DurableObject } from "cloudflare:workers";
import type { KeyDescription } from "../../protocol/api-key.ts";
import type { KeyringObject } from "../objects.ts";
import type { Env } from "../settings.ts";

export class Keyring extends DurableObject<Env> implements KeyringObject {
	constructor(ctx: DurableObjectState, env: Env) {
		super(ctx, env);
		ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS key (id TEXT PRIMARY KEY, description TEXT NOT NULL)");
	}

	async put(key: KeyDescription): Promise<void> {
		this.ctx.storage.sql.exec(
			"INSERT OR REPLACE INTO key (id, description) VALUES (?, ?)",
			key.id,
			JSON.stringify(key),
		);
	}

	async get(id: string): Promise<KeyDescription | null> {
		return this.#read("SELECT description FROM key WHERE id = ?", id)[0] ?? null;
	}

	async list(): Promise<KeyDescription[]> {
		return this.#read("SELECT description FROM key ORDER BY rowid");
	}

	#read(query: string, ...bindings: SqlValue[]): KeyDescription[] {
		return this.ctx.storage.sql
			.exec<{ description: string }>(query, ...bindings)
			.toArray()
			.map(({ description }) => JSON.parse(description));
	}
}
