/** The GPU worker's process, which tells its parent, once a picture is finished, when it sent each scale. */
import { getGlobalDispatcher, setGlobalDispatcher } from "undici";

/** Number of a scale, and the system's clock in milliseconds, which all processes of a machine share. */
export type Sent = readonly (readonly [index: number, at: number])[];

const sent: [number, number][] = [];
// What the worker sends goes through here, as it is sent.
setGlobalDispatcher(
	getGlobalDispatcher().compose((dispatch) => (options, handler) => {
		if (options.method === "POST" && options.path.includes("/internal/jobs/")) {
			const { type, index } = JSON.parse(String(options.body)) as { type: string; index: number };
			if (type === "scale") sent.push([index, Number(process.hrtime.bigint()) / 1e6]);
			else if (type === "final") process.send?.(sent.splice(0));
		}
		return dispatch(options, handler);
	}),
);
await import("../../../worker/gpu/main.ts");
