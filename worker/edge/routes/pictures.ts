/** GET /v1/jobs/:job/image: a finished picture, by the address that was given with it. */
import type { Context } from "hono";
import { isGood } from "../auth/picture-url.ts";
import { bytesOf } from "../base64.ts";
import { ApiError } from "../http/errors.ts";
import { queryOf } from "../http/input.ts";
import { notModified } from "../http/range.ts";
import { jobId } from "../job/follow.ts";
import { LoggedFinal, pictureIn } from "../job/kept-picture.ts";
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
	const kept = await keptOf(c.env, job);
	if (kept === null)
		throw new ApiError(404, "picture_not_found", "The picture is not kept any more. Ask for it again.");
	const { mime, sha256, size, body } = kept;
	const etag = `"${sha256}"`;
	const headers = {
		etag,
		"cache-control": `private, immutable, max-age=${Math.floor(Number(expires) - Date.now() / 1000)}`,
		"content-disposition": `inline; filename="${job.slice(0, 12)}.${mime.slice("image/".length)}"`,
	};
	const known = notModified(c.req.raw.headers, etag);
	const unread = known || c.req.method === "HEAD";
	if (unread && body instanceof ReadableStream) await body.cancel();
	if (known) return new Response(null, { status: 304, headers });
	return new Response(unread ? null : body, {
		headers: { ...headers, "content-type": mime, "content-length": `${size}` },
	});
}

interface Kept {
	mime: string;
	sha256: string;
	/** Bytes. */
	size: number;
	body: ReadableStream<Uint8Array> | Uint8Array<ArrayBuffer>;
}

/** Out of the bucket, without waking the job; else out of its log. */
async function keptOf(env: Env, job: string): Promise<Kept | null> {
	const object = await pictureIn(env, job);
	if (object) {
		const { contentType: mime = "application/octet-stream" } = object.httpMetadata ?? {};
		const { sha256 = object.httpEtag.replaceAll('"', "") } = object.customMetadata ?? {};
		return { mime, sha256, size: object.size, body: object.body };
	}
	const id = jobId(env, job);
	const json = id && (await env.JOB.get(id).final());
	const final = json ? LoggedFinal.parse(JSON.parse(json)) : null;
	if (final === null || final.base64 === null) return null;
	const body = bytesOf(final.base64);
	return { mime: final.mime, sha256: final.sha256, size: body.byteLength, body };
}
