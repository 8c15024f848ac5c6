/** What is left to a key, as headers: the IETF's (draft-ietf-httpapi-ratelimit-headers), and those of OpenAI. */
import type { Limits } from "../../protocol/api-key.ts";
import type { Left } from "./bucket.ts";

export const LIMIT_HEADERS: readonly string[] = [
	"ratelimit",
	"ratelimit-policy",
	...["requests", "images"].flatMap((what) =>
		["limit", "remaining", "reset"].map((which) => `x-ratelimit-${which}-${what}`),
	),
];

export function limitHeaders({ per_minute, per_day }: Limits, left: Left): Record<string, string> {
	const seconds = (milliseconds: number) => Math.ceil(milliseconds / 1000);
	return {
		"ratelimit-policy": `"requests";q=${per_minute};w=60, "images";q=${per_day};w=86400`,
		ratelimit:
			`"requests";r=${left.requests};t=${seconds(left.requestsReset)}, ` +
			`"images";r=${left.pictures};t=${seconds(left.picturesReset)}`,
		"x-ratelimit-limit-requests": String(per_minute),
		"x-ratelimit-remaining-requests": String(left.requests),
		"x-ratelimit-reset-requests": duration(left.requestsReset),
		"x-ratelimit-limit-images": String(per_day),
		"x-ratelimit-remaining-images": String(left.pictures),
		"x-ratelimit-reset-images": duration(left.picturesReset),
	};
}

/** As OpenAI writes times: `120ms`, `1s`, `6m0s`, `3h2m1s`. */
export function duration(milliseconds: number): string {
	if (milliseconds < 1000) return `${Math.ceil(milliseconds)}ms`;
	const all = Math.ceil(milliseconds / 1000);
	const [hours, minutes, seconds] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
	return `${hours > 0 ? `${hours}h` : ""}${all >= 60 ? `${minutes}m` : ""}${seconds}s`;
}
