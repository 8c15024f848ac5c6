/** The choice to compute in this browser: the engine is loaded when it is first wanted. */
import type { JobEvent } from "../protocol/job.ts";
import { $, setText } from "./dom.ts";
import { type Ask, type Model, Refusal } from "./edge.ts";
import type { FromEngine, ToEngine } from "./engine-messages.ts";
import type { Source } from "./maker.ts";
import { showLoading } from "./status.ts";

const NOTE =
	"The same engine on your own GPU; nothing you type leaves this machine. Sums may run in another order there, so " +
	"a picture can differ a little from the workers'.";

export class Here {
	#box = $<HTMLInputElement>("here");
	#engine: Worker | undefined;
	#announce: (text: string) => void;
	#ids = 0;
	#listeners = new Map<number, (message: FromEngine) => void>();

	constructor(announce: (text: string) => void) {
		this.#announce = announce;
		setText($("here-note"), NOTE);
	}

	/** Offers it where the browser has WebGPU and the edge hands out the model's files. */
	offer(model: Model): void {
		$("here-setting").hidden = !("gpu" in navigator) || model.files === undefined;
	}

	/** Where pictures of the model come from when it is chosen. */
	source(model: Model | undefined): Source | undefined {
		if (!this.#box.checked || $("here-setting").hidden || model?.files === undefined) return undefined;
		const files = new URL(model.files, document.baseURI).href;
		return (ask, signal) => this.#make(files, ask, signal);
	}

	async *#make(files: string, ask: Ask, signal: AbortSignal): AsyncGenerator<JobEvent> {
		const id = ++this.#ids;
		const messages: FromEngine[] = [];
		let arrived = Promise.withResolvers<void>();
		this.#listeners.set(id, (message) => {
			messages.push(message);
			arrived.resolve();
		});
		// A model that is still coming answers nothing.
		const stop = () => {
			this.#send({ kind: "stop", id });
			arrived.resolve();
		};
		signal.addEventListener("abort", stop, { once: true });
		try {
			this.#send({ kind: "make", id, files, ask });
			for (;;) {
				await arrived.promise;
				signal.throwIfAborted();
				arrived = Promise.withResolvers();
				for (const message of messages.splice(0)) {
					signal.throwIfAborted();
					if (message.kind === "event") yield message.event;
					else if (message.kind === "end") return;
					else if (message.kind === "failed") throw new Refusal(message.message, message.code);
				}
			}
		} finally {
			signal.removeEventListener("abort", stop);
			this.#listeners.delete(id);
		}
	}

	#send(message: ToEngine): void {
		this.#engine ??= this.#start();
		this.#engine.postMessage(message);
	}

	#start(): Worker {
		const engine = new Worker(new URL("engine.js", document.baseURI), { type: "module" });
		engine.addEventListener("message", ({ data }: MessageEvent<FromEngine>) => {
			if (data.kind === "loading") this.#loading(data.done, data.total);
			else this.#listeners.get(data.id)?.(data);
		});
		engine.addEventListener("error", ({ message }) => {
			const failed = `The engine did not start in this browser. ${message ?? ""}`;
			for (const [id, listener] of this.#listeners) listener({ kind: "failed", id, code: "engine", message: failed });
			this.#engine = undefined;
		});
		return engine;
	}

	#loading(done: number, total: number): void {
		const megabytes = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
		const note = `${megabytes(done)} of ${megabytes(total)} MB`;
		showLoading(done < total ? { done: done / total, note } : null);
		this.#announce(done < total ? "The model is coming into this browser." : "The model is here. Preparing your GPU.");
	}
}
