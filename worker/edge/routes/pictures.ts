/** GET /v1/jobs/:job/image: a finished picture, by the address that was given with it. */
import type { Context } from "hono";
import { FinalEvent } from "../../protocol/job.ts";
import { isGood } from "../auth/picture-url.ts";
import { ApiError } from "../http/errors.ts";
import { queryOf } from "../http/input.ts";
import { notModified } from "../http/range.ts";
import { jobId } from "../job/follow.ts";
import type { App, Env } from "../settings.ts";

export async function picture(c: Context<App>): Promise<Response> {
	const job = c.req.param("job") ?? "";
	const { expires = "", signature = "" } = queryOf(c.req.url);
	// The signature first: without one no object wakes.
	if (!(await isGood(c.env, job, expires, signature)))
		throw new ApiError(
			403,
			"address_expired",
			"This address is not complete, or its hour is over. Ask for the picture again.",
		);
	const final = await finalOf(c.env, job);
	if (final === null)
		throw new ApiError(404, "picture_not_found", "The picture is not kept any more. Ask for it again.");
	const { mime, base64, sha256 } = final;
	const etag = `"${sha256}"`;
	const headers = {
		etag,
		"cache-control": `private, immutable, max-age=${Math.floor(Number(expires) - Date.now() / 1000)}`,
		"content-disposition": `inline; filename="${job.slice(0, 12)}.${mime.slice("image/".length)}"`,
	};
	if (notModified(c.req.raw.headers, etag)) return new Response(null, { status: 304, headers });
	const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
	return new Response(bytes, {
		headers: { ...headers, "content-type": mime, "content-length": `${bytes.byteLength}` },
	});
}

/** Out of the log of a job that has ended. */
async function finalOf(env: Env, job: string): Promise<FinalEvent | null> {
	const id = jobId(env, job);
	const json = id && (await env.JOB.get(id).final());
	return json ? FinalEvent.parse(JSON.parse(json)) : null;
}
