/** Job objects that answer their pool late. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { onTestFinished } from "vitest";
import { poolNamed } from "../../worker/edge/objects.ts";
import type { Env } from "../../worker/edge/settings.ts";
import { pause } from "./reader.ts";

type Method = (...args: unknown[]) => unknown;

/**
 * The pool's calls of a job's `method`, where `late` is so, take until what this returns is called, or the test ends.
 */
export async function delayed(method: string, late: (job: string) => boolean): Promise<() => Promise<void>> {
	let over = false;
	const change = (to: (jobs: Env["JOB"]) => Env["JOB"]) =>
		runInDurableObject(poolNamed(env as unknown as Env, "default") as never, (pool) => {
			const own = (pool as unknown as { env: Env }).env;
			own.JOB = to(own.JOB);
		});
	let real: Env["JOB"];
	await change((jobs) => {
		real = jobs;
		const get = (id: DurableObjectId) =>
			new Proxy(jobs.get(id), {
				get: (job, name) => {
					// By its stub, whose methods are no functions of this process.
					const call: Method = (...args) => (job as unknown as Record<PropertyKey, Method>)[name](...args);
					if (name !== method || !late(id.toString())) return call;
					return async (...args: unknown[]) => {
						while (!over) await pause(20);
						return await call(...args);
					};
				},
			});
		return { idFromString: (id: string) => jobs.idFromString(id), get } as unknown as Env["JOB"];
	});
	const answers = async () => {
		over = true;
		await change(() => real);
	};
	onTestFinished(answers);
	return answers;
}
