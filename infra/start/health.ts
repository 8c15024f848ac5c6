/** What an edge says of itself. Asked directly, whatever proxy the environment names. */
import { Agent, get } from "node:http";

/** The status of its `/healthz`: 200 with a worker, 503 without; undefined where it does not answer. */
export function healthOf(url: string): Promise<number | undefined> {
	return new Promise((resolve) => {
		const request = get(`${url}/healthz`, { agent: new Agent(), timeout: 2000 }, (response) => {
			response.resume();
			resolve(response.statusCode);
		});
		request.on("timeout", () => request.destroy()).on("error", () => resolve(undefined));
	});
}
