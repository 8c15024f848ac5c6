/** What an operator can set, parsed once. Production needs WORKER_SECRET and ADMIN_SECRET. */
import type { RequestIdVariables } from "hono/request-id";
import type { SecureHeadersVariables } from "hono/secure-headers";
import type { TimingVariables } from "hono/timing";
import { z } from "zod";
import { ClientSettings } from "../protocol/client-settings.ts";
import { Digest } from "../protocol/plan.ts";
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

const seconds = (least: number, most: number, otherwise: number) =>
	z.coerce.number().min(least).max(most).default(otherwise);

const PoolPlace = z.strictObject({
	name: z.string().regex(/^[a-z0-9-]{1,32}$/),
	/** Models of its workers. Absent: all. */
	models: z.array(z.string().max(64)).max(64).optional(),
	/** What it is nearest to: continents of readers as Cloudflare names them (`EU`), and regions of workers. */
	near: z.array(z.string().max(32)).max(64).default([]),
});
export type PoolPlace = z.infer<typeof PoolPlace>;

const Settings = z.object({
	/** Shared with the GPU workers. Absent or too short: /internal refuses everything. */
	WORKER_SECRET: z.string().min(16).max(512).optional().catch(undefined),
	/** The secret that will come after it: both are good, while workers change over. */
	WORKER_SECRET_NEXT: z.string().min(16).max(512).optional().catch(undefined),
	/** A worker's token, which it needs to dial, and one for the files of a model, which a long download may need. */
	WORKER_TOKEN_SECONDS: seconds(1, 86_400, 600),
	MODEL_TOKEN_SECONDS: seconds(1, 604_800, 21_600),
	/** Mints and revokes keys, and signs tickets and addresses of pictures. Absent: only a key with `admin` may. */
	ADMIN_SECRET: z.string().min(16).max(512).optional().catch(undefined),
	/** Workers report this often; three missed reports end their membership. */
	HEARTBEAT_SECONDS: seconds(0.1, 60, 10),
	/**
	 * A job is stopped this long after the last sign of a reader. With the time to notice that one left (two comments):
	 * five seconds.
	 */
	READER_GRACE_SECONDS: seconds(0.1, 600, 4),
	/** A job that is not finished by then ends with an error. */
	JOB_DEADLINE_SECONDS: seconds(0.1, 86_400, 600),
	/** A request's body that has not come by then will not come. */
	BODY_SECONDS: seconds(0.1, 600, 30),
	/** The answer under an Idempotency-Key is given again for this long. */
	IDEMPOTENCY_SECONDS: seconds(0.1, 604_800, 86_400),
	/** A webhook that was not taken is tried again after this long, then after four times as long each time. */
	WEBHOOK_RETRY_SECONDS: seconds(0.01, 3600, 5),
	/** A queued job whose model no worker offers any more ends with an error after this long. */
	NO_WORKER_SECONDS: seconds(0.1, 3600, 60),
	/**
	 * Silence on an event stream is broken by a comment this often. A connection that the reader closed shows only when
	 * something is written to it, and behind a proxy (as in `wrangler dev`) only at the second write.
	 */
	COMMENT_SECONDS: seconds(0.1, 60, 0.5),
	...ClientSettings.shape,
	/** Jobs that may wait for a worker. */
	QUEUE_LIMIT: z.coerce.number().int().min(1).max(10_000).default(64),
	/** A worker whose connection is lost keeps its jobs for this long: it dials again. */
	REJOIN_SECONDS: seconds(0, 60, 2),
	/**
	 * A request that finds no worker waits this long for one to dial again, where some had just been there: a deploy
	 * drops all connections at once.
	 */
	RETURN_SECONDS: seconds(0, 60, 5),
	/**
	 * An attempt of which nothing came for this long, and for longer than the picture's pace explains, goes to another
	 * worker (worker/protocol/allowance.ts).
	 */
	STALL_SECONDS: seconds(0.1, 3600, 60),
	/** A picture that was begun waits this long for a worker with the same numerics, which goes on bit for bit. */
	NUMERICS_SECONDS: seconds(0, 600, 3),
	/** What `/healthz` and the catalog say is not older than this. */
	STATUS_SECONDS: seconds(0, 60, 1),
	/**
	 * Shares of new jobs by model digest, as JSON: `{"sha256:...": 9, "sha256:...": 1}`. A version that is not in it
	 * weighs as many as its workers have slots.
	 */
	MODEL_WEIGHTS: z
		.string()
		.default("{}")
		.transform((text) => JSON.parse(text) as unknown)
		.pipe(z.record(Digest, z.number().min(0))),
	/**
	 * Pools of workers by model and region, as JSON: `[{"name": "eu", "near": ["EU", "AF"]}, {"name": "us"}]`. Two of the
	 * same kind share its workers and pictures.
	 */
	POOLS: z
		.string()
		.default('[{"name": "default"}]')
		.transform((text) => JSON.parse(text) as unknown)
		.pipe(z.array(PoolPlace).min(1).max(64)),
	/** Leases of one job that failed or gave nothing. Those that a worker had to hand back are counted apart. */
	MAX_ATTEMPTS: z.coerce.number().int().min(1).max(100).default(3),
});
export type Settings = z.infer<typeof Settings>;

const parsed = new WeakMap<object, Settings>();

/** The settings of this deployment. Throws when a variable is out of range, naming it. */
export function settingsOf(env: Env): Settings {
	let settings = parsed.get(env);
	if (!settings) {
		const result = Settings.safeParse(env);
		if (!result.success)
			throw new Error(`Bad settings; see worker/edge/settings.ts:\n${z.prettifyError(result.error)}`);
		settings = result.data;
		parsed.set(env, settings);
	}
	return settings;
}
