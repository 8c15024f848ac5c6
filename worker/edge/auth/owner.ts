/** Whose a request is, as far as it shows: what one asks is neither found nor repeated by another. */
import type { Env } from "../settings.ts";
import { secretOf } from "./secret.ts";
import { bearer, signText } from "./token.ts";

/** "" for a request without a credential. Tells nothing of the credential itself. */
export async function ownerOf(env: Env, request: Request): Promise<string> {
	const credential = bearer(request);
	return credential === "" ? "" : signText(secretOf(env), `firstlight owner 1\n${credential}`);
}
