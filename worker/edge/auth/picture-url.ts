/** Addresses of finished pictures: signed, and good as long as the job's log is kept. */

import { type Env, settingsOf } from "../settings.ts";
import { signingSecret } from "./secret.ts";
import { signText, verifyText } from "./token.ts";

export const PICTURE_PATH = "/v1/pictures";

/** `origin` is where the request came in; a PUBLIC_URL of the operator's stands in its place. */
export async function pictureUrl(env: Env, origin: string, job: string): Promise<string> {
	const { PUBLIC_URL, JOB_KEEP_SECONDS } = settingsOf(env);
	const expires = Math.floor(Date.now() / 1000 + JOB_KEEP_SECONDS);
	const query = new URLSearchParams({
		expires: `${expires}`,
		signature: await signText(signingSecret(env), message(job, expires)),
	});
	return `${(PUBLIC_URL ?? origin).replace(/\/+$/, "")}${PICTURE_PATH}/${job}?${query}`;
}

/** Whether the address was given out here and is still good. */
export async function isGood(env: Env, job: string, expires: string, signature: string): Promise<boolean> {
	if (!/^\d{1,12}$/.test(expires)) return false;
	const signed = await verifyText(signingSecret(env), message(job, Number(expires)), signature);
	return signed && Number(expires) * 1000 > Date.now();
}

const message = (job: string, expires: number): string => `firstlight picture 1\n${job}\n${expires}`;
