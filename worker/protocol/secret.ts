/** Secrets that edge, workers and their operators share. */
import { z } from "zod";

/** Long enough not to be guessed. A header carries it: with spaces or other letters it would not arrive as it is. */
export const BearerSecret = z
	.string("must be the edge's secret")
	.min(16, "must have at least 16 characters")
	.max(512, "must have at most 512 characters")
	.regex(/^[\x21-\x7e]*$/, "must be letters, digits and signs of ASCII, without spaces");

const WEBHOOK_PREFIX = "whsec_";
const WEBHOOK_PROBLEM = "must be whsec_ and base64 of 24 to 64 bytes";

/** As Standard Webhooks writes a key. */
export const WebhookSecret = z
	.string()
	.regex(/^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/, { error: WEBHOOK_PROBLEM, abort: true })
	.refine((secret) => {
		try {
			const { length } = webhookKey(secret);
			return length >= 24 && length <= 64;
		} catch {
			return false;
		}
	}, WEBHOOK_PROBLEM);

/** Its bytes. Throws for what is no base64. */
export function webhookKey(secret: string): Uint8Array<ArrayBuffer> {
	return Uint8Array.from(atob(secret.slice(WEBHOOK_PREFIX.length)), (char) => char.charCodeAt(0));
}
