import { UsageError } from "./usage.ts";

const EDGE = "Give the edge's address, such as http://localhost:8787, or unset it.";

/** What variables of the environment the commands read must be like. Throws UsageError for the first that is not. */
export function checkEnvironment({ FIRSTLIGHT_CACHE_GB: gigabytes, EDGE_URL: edge }: NodeJS.ProcessEnv): void {
	if (gigabytes && !(Number(gigabytes) >= 0))
		throw new UsageError(
			`FIRSTLIGHT_CACHE_GB must be a number of gigabytes, not ${gigabytes}.`,
			"Give such as 20, or 0 for no cache, or unset it.",
		);
	if (edge && !(URL.canParse(edge) && /^https?:$/.test(new URL(edge).protocol)))
		throw new UsageError(`EDGE_URL must be an http or https address, not ${edge}.`, EDGE);
}
