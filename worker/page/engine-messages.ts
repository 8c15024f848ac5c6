/** What the page and its engine (`engine.ts`, in a Web Worker) say to each other. */
import type { JobEvent } from "../protocol/job.ts";
import type { Ask } from "./edge.ts";

export type ToEngine =
	/** Make a picture with the model whose files lie at this URL. */
	{ kind: "make"; id: number; files: string; ask: Ask } | { kind: "stop"; id: number };

export type FromEngine =
	/** Bytes of the model's files that are here, of how many. */
	| { kind: "loading"; done: number; total: number }
	| { kind: "event"; id: number; event: JobEvent }
	| { kind: "end"; id: number }
	| { kind: "failed"; id: number; code: string; message: string };
