/** Short-lived tokens that say something, signed by the edge for itself: JSON Web Tokens with an HMAC. */
import { errors, type JWTPayload, jwtVerify, SignJWT } from "jose";
import type { Env } from "../settings.ts";
import { signingSecret } from "./secret.ts";

/** What a token is for. One for another purpose is none. */
export type Purpose = "ticket" | "worker" | "model";

export async function signClaims(env: Env, purpose: Purpose, claims: JWTPayload, seconds: number): Promise<string> {
	return new SignJWT(claims)
		.setProtectedHeader({ alg: "HS256" })
		.setAudience(`firstlight ${purpose}`)
		.setExpirationTime(Math.ceil(Date.now() / 1000 + seconds))
		.sign(await keyOf(env));
}

/** What a token says; null for one that was not signed here for this purpose, or is not good any more. */
export async function readClaims(env: Env, purpose: Purpose, token: string): Promise<JWTPayload | null> {
	const expected = { algorithms: ["HS256"], audience: `firstlight ${purpose}`, requiredClaims: ["exp"] };
	try {
		return (await jwtVerify(token, await keyOf(env), expected)).payload;
	} catch (error) {
		if (error instanceof errors.JOSEError) return null;
		throw error;
	}
}

/** Of full length, whatever length the secret has, and of no use for anything else that is signed with it. */
async function keyOf(env: Env): Promise<Uint8Array> {
	const text = new TextEncoder().encode(`firstlight claims 1\n${signingSecret(env)}`);
	return new Uint8Array(await crypto.subtle.digest("SHA-256", text));
}
