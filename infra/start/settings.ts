/** What `npm start` is told by the environment, checked as a whole before anything is started. */
import { resolve } from "node:path";
import { z } from "zod";
import { DEFAULT_MODEL, findModel, isUrl } from "../../model-shards/open.ts";
import { type Environment, parseSettings, readSettings, SettingsError } from "../../worker/gpu/settings.ts";
import { OperatorSettings } from "../../worker/protocol/operator-settings.ts";
import { wholeNumber } from "../../worker/protocol/setting-numbers.ts";
import { defaultStateDir } from "./state.ts";

const StartSettings = z.object({
	PORT: wholeNumber(1, 65_535).default(8787),
	/** A name or an address of this machine to listen at; left out: this machine alone can connect. */
	HOST: z.string().max(253, "must be a name or an address").optional(),
	GPU_WORKERS: wholeNumber(0, 16).default(1),
	/** Of the first worker; the others have those after it. */
	HEALTH_PORT: wholeNumber(1, 65_000).optional(),
	MODELS: z.string().default(DEFAULT_MODEL),
	STATE_DIR: z
		.string()
		.default(defaultStateDir())
		.transform((path) => resolve(path)),
	/** What edge and workers may take to become ready. */
	READY_SECONDS: wholeNumber(1, 86_400).default(180),
});
export type StartSettings = z.infer<typeof StartSettings>;

/** Throws SettingsError, or ModelFormatError for a model that is not on this machine: a line each. */
export function readStartSettings(environment: Environment): StartSettings & { operator: OperatorSettings } {
	const settings = parseSettings(StartSettings, environment);
	// The edge reads them itself; it would say what is wrong only once somebody asks.
	const operator = parseSettings(OperatorSettings, environment);
	// The workers read theirs again; what they would refuse is refused here, where it is said once.
	const { MODELS } = readSettings({ ...environment, ...WORKER_STAND_INS, MODELS: settings.MODELS });
	for (const model of MODELS) {
		if (isUrl(model)) {
			if (!URL.canParse(model)) throw new SettingsError(`MODELS: ${model} is no URL`);
		} else findModel(model);
	}
	return { ...settings, operator };
}

/** In place of what `start` itself will tell the workers. */
const WORKER_STAND_INS = { EDGE_URL: undefined, WORKER_SECRET: "not-known-before-the-start", WORKER_ID: undefined };
