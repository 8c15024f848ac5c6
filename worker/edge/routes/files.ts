/**
 * GET /v1/models/:model/files/:file: the files of a published model, for GPU workers. `:model` is a name, or a digest.
 */
import type { Context } from "hono";
import { requireModelToken } from "../auth/worker-token.ts";
import { ApiError } from "../http/errors.ts";
import { notModified, rangeOf } from "../http/range.ts";
import { damaged, digestOf, fileNotFound, fileOf } from "../published.ts";
import { type App, settingsOf } from "../settings.ts";

/**
 * What a digest names never changes; what a name stands for may. Private, since a cache on the way does not ask for the
 * token.
 */
const IMMUTABLE = "private, max-age=31536000, immutable, no-transform";
const CHECK = "private, no-cache, no-transform";

export async function modelFile(c: Context<App>): Promise<Response> {
	const request = c.req.raw;
	const model = c.req.param("model") ?? "";
	if (!settingsOf(c.env).PUBLIC_MODELS.includes(model)) await requireModelToken(c.env, request, model);
	const bucket = c.env.MODEL_BUCKET;
	if (!bucket)
		throw new ApiError(503, "no_bucket", "This edge has no MODEL_BUCKET: bind an R2 bucket in wrangler.toml.", {
			headers: { "x-should-retry": "false" },
		});
	const digest = await digestOf(bucket, model);
	const file = c.req.param("file") ?? "";
	const { key, sha256, bytes } = await fileOf(bucket, digest, file);

	const object = await bucket.head(key);
	if (object === null && sha256 === undefined) throw fileNotFound(file);
	if (object === null || (bytes !== undefined && object.size !== bytes)) throw damaged(model);
	const etag = sha256 === undefined ? object.httpEtag : `"${sha256}"`;
	const headers = new Headers({
		etag,
		"accept-ranges": "bytes",
		"cache-control": model === digest && sha256 !== undefined ? IMMUTABLE : CHECK,
	});
	if (notModified(request.headers, etag)) return new Response(null, { status: 304, headers });
	headers.set("content-type", "application/octet-stream");
	const range = request.method === "GET" ? rangeOf(request.headers, object.size, etag) : null;
	if (range === "unsatisfiable") {
		throw new ApiError(416, "range_not_satisfiable", `The file has ${object.size} bytes.`, {
			headers: { "content-range": `bytes */${object.size}` },
		});
	}
	const { offset, length } = range ?? { offset: 0, length: object.size };
	headers.set("content-length", `${length}`);
	if (request.method === "HEAD") return new Response(null, { headers });
	const part = await bucket.get(key, { range: { offset, length } });
	if (part === null) throw damaged(model);
	if (range) headers.set("content-range", `bytes ${offset}-${offset + length - 1}/${object.size}`);
	return new Response(part.body, { status: range ? 206 : 200, headers });
}
