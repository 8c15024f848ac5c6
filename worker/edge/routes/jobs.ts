/** DELETE /v1/jobs/:job: nobody wants the picture any more. */
import type { Context } from "hono";
import { jobGone, jobId } from "../job/follow.ts";
import type { App } from "../settings.ts";

export async function cancelJob(c: Context<App>): Promise<Response> {
	const id = jobId(c.env, c.req.param("job") ?? "");
	if (!id || !(await c.env.JOB.get(id).stop(c.var.caller.owner))) throw jobGone("job");
	return new Response(null, { status: 204 });
}
