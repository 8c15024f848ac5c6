/** Addresses of finished pictures: signed, and good as long as the job's log is kept. */

import { type Env, settingsOf } from "../settings.ts";
import { signingSecret } from "./secret.ts";
import { signText, verifyText } from "./token.ts";

/** Where clients reach this edge: where the request came in, or a PUBLIC_URL of the operator's in its place. */
export function baseOf(env: Env, origin: string): string {
	return (settingsOf(env).PUBLIC_URL ?? origin).replace(/\/+$/, "");
}

/** `expires`: when the job is deleted, in seconds since 1970. */
export async function pictureUrl(env: Env, origin: string, job: string, expires: number): Promise<string> {
	const query = new URLSearchParams({
		expires: `${expires}`,
		signature: await signText(signingSecret(env), message(job, expires)),
	});
	return `${baseOf(env, origin)}/v1/jobs/${job}/image?${query}`;
}

/** Whether the address was given out here and is still good. */
export async function isGood(env: Env, job: string, expires: string, signature: string): Promise<boolean> {
	if (!/^\d{1,12}$/.test(expires)) return false;
	const signed = await verifyText(signingSecret(env), message(job, Number(expires)), signature);
	return signed && Number(expires) * 1000 > Date.now();
}

const message = (job: string, expires: number): string => `firstlight picture 1\n${job}\n${expires}`;
