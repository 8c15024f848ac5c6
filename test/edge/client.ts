/** The official client, talking to the edge under test. */
import OpenAI from "openai";
import { edge } from "./peer.ts";

export const client = new OpenAI({
	apiKey: "unused",
	baseURL: "http://localhost/v1",
	maxRetries: 0,
	fetch: (input, init) => edge(String(input).replace("http://localhost", ""), init as RequestInit),
});

export const post = (
	body: unknown,
	headers: Record<string, string> = { "content-type": "application/json" },
	path = "/v1/images/generations",
): Promise<Response> =>
	edge(path, { method: "POST", headers, body: typeof body === "string" ? body : JSON.stringify(body) });
