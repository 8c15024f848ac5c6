/**
 * The secrets of a deployment, and what an operator can set (worker/protocol/operator-settings.ts), parsed once.
 * Production needs WORKER_SECRET and ADMIN_SECRET.
 */
import type { RequestIdVariables } from "hono/request-id";
import type { SecureHeadersVariables } from "hono/secure-headers";
import type { TimingVariables } from "hono/timing";
import { z } from "zod";
import { OperatorSettings } from "../protocol/operator-settings.ts";
import { BearerSecret } from "../protocol/secret.ts";
import type { Caller } from "./auth/caller.ts";
import type { Objects } from "./objects.ts";

/** Bindings and variables of wrangler.toml. */
export interface Env extends Objects {
	/** Published models. Absent: this edge delivers none. */
	MODEL_BUCKET?: R2Bucket;
	/** Finished pictures, each until its job is deleted. Absent: they lie with their jobs. */
	PICTURE_BUCKET?: R2Bucket;
	[variable: string]: unknown;
}

/** What a route has in hand. */
export interface App {
	Bindings: Env;
	Variables: RequestIdVariables & SecureHeadersVariables & TimingVariables & { caller: Caller };
}

const Settings = z.object({
	/** Shared with the GPU workers. Absent, or none that a worker could send: /internal refuses everything. */
	WORKER_SECRET: BearerSecret.optional().catch(undefined),
	/** The secret that will come after it: both are good, while workers change over. */
	WORKER_SECRET_NEXT: BearerSecret.optional(),
	/**
	 * Mints and revokes keys, and signs tickets and addresses of pictures. Absent: only a key with `admin` may, and what
	 * workers know signs. One that is wrong is no absent one.
	 */
	ADMIN_SECRET: BearerSecret.optional(),
	...OperatorSettings.shape,
});
export type Settings = z.infer<typeof Settings>;

const parsed = new WeakMap<object, Settings>();

/** The settings of this deployment. Throws when a variable is out of range, naming it. */
export function settingsOf(env: Env): Settings {
	let settings = parsed.get(env);
	if (!settings) {
		const result = Settings.safeParse(env);
		if (!result.success)
			throw new Error(`Bad settings; see worker/protocol/operator-settings.ts:\n${z.prettifyError(result.error)}`);
		settings = result.data;
		parsed.set(env, settings);
	}
	return settings;
}
