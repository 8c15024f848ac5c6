/** What the edge gives a worker for the registration secret: a token in its name, and one for each model it loads. */
import { REGISTER_PATH, Registered } from "../protocol/messages.ts";
import { edgeUrl, type Settings } from "./settings.ts";

/** Asking again would be answered the same: what the edge said. */
export class RegistrationRefused extends Error {
	override name = "RegistrationRefused";
}

interface Applicant {
	edge: string;
	secret: string;
	worker: string;
	models?: readonly string[];
}

const LATE_MS = 15_000;

/** Throws RegistrationRefused, or an Error where another try may help. */
export async function register({ edge, secret, worker, models = [] }: Applicant): Promise<Registered> {
	const response = await fetch(edgeUrl(edge, REGISTER_PATH), {
		method: "POST",
		headers: { authorization: `Bearer ${secret}`, "content-type": "application/json" },
		body: JSON.stringify({ worker, models }),
		redirect: "error",
		signal: AbortSignal.timeout(LATE_MS),
	});
	if (response.ok) return Registered.parse(await response.json());
	const said = `${response.status}: ${await messageOf(response)}`;
	if (response.status === 401 || response.status === 403) throw new RegistrationRefused(said);
	throw new Error(said);
}

/** A worker's token, asked for when it is wanted. Both throw what `register` throws. */
export interface Credential {
	/** One that is good for a while yet. */
	current(): Promise<string>;
	/** Another, that is good for longer. */
	renewed(): Promise<string>;
}

export function credentialOf({ EDGE_URL, WORKER_SECRET, WORKER_ID }: Settings): Credential {
	let newest: Registered | undefined;
	const renewed = async () => {
		newest = await register({ edge: EDGE_URL, secret: WORKER_SECRET, worker: WORKER_ID });
		return newest.token;
	};
	return {
		renewed,
		async current() {
			// Not one that ends on its way.
			return newest && newest.expires * 1000 > Date.now() + 2 * LATE_MS ? newest.token : await renewed();
		},
	};
}

/**
 * What a request for a model's files carries: a token for that model, where it is the edge that delivers it. Nobody
 * else gets to see anything.
 */
export async function modelHeaders(
	where: string,
	{
		EDGE_URL,
		WORKER_SECRET,
		WORKER_ID = "download",
	}: { EDGE_URL?: string; WORKER_SECRET?: string; WORKER_ID?: string },
): Promise<Record<string, string>> {
	const model = EDGE_URL && modelAt(where, EDGE_URL);
	if (!model || !WORKER_SECRET) return {};
	const { models } = await register({ edge: EDGE_URL, secret: WORKER_SECRET, worker: WORKER_ID, models: [model] });
	return { authorization: `Bearer ${models[model]}` };
}

/** The model, by name or digest, whose files the edge has at `where`; undefined where that is another place. */
export function modelAt(where: string, edge: string): string | undefined {
	if (!URL.canParse(edge)) return undefined;
	const files = edgeUrl(edge, "/v1/models/").href;
	const { href } = new URL(where);
	if (!href.startsWith(files)) return undefined;
	const [, model] = /^([^/?#]+)\/files\/?$/.exec(href.slice(files.length)) ?? [];
	return model && decodeURIComponent(model);
}

async function messageOf(response: Response): Promise<string> {
	try {
		const { error } = (await response.json()) as { error?: { message?: unknown } };
		return String(error?.message ?? "").slice(0, 500);
	} catch {
		return "";
	}
}
