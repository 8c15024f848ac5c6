/** A job's end, told to its webhook: the job as its resource shows it, nothing of the prompt. */
import type { WebhookMessage } from "../../protocol/jobs.ts";
import type { JobFacts } from "../objects.ts";
import { type Env, settingsOf } from "../settings.ts";
import { resourceOf } from "./facts.ts";
import { type Answer, type Hook, send } from "./webhook.ts";

/** Once. `base`: where clients reach this edge; `ended`: when, in milliseconds since 1970. */
export async function tell(
	env: Env,
	hook: Hook,
	{ base, facts, ended }: { base: string; facts: JobFacts; ended: number },
): Promise<Answer> {
	const secret = hook.secret ?? settingsOf(env).WEBHOOK_SECRET;
	// The operator's may have gone since.
	if (secret === undefined) return "gone";
	const message: WebhookMessage = {
		type: `job.${facts.outcome!}`,
		timestamp: new Date(ended).toISOString(),
		data: await resourceOf(env, base, facts, null),
	};
	return send(hook, secret, JSON.stringify(message));
}
