/** What the parts of a pool have in common. */
import type { Alarm } from "../alarm.ts";
import type { Env, Settings } from "../settings.ts";
import type { Dispatcher } from "./dispatcher.ts";
import type { Books } from "./standing.ts";

export interface Shared extends Books {
	dispatcher: Dispatcher;
	alarm: Alarm;
	env: Env;
	settings: Settings;
	/** Goes on with something that nobody waits for. */
	later(work: Promise<unknown>): void;
}

/** So many heartbeats, in milliseconds. */
export const beats = ({ HEARTBEAT_SECONDS }: Settings, count: number): number => count * HEARTBEAT_SECONDS * 1000;
