// @ts-check
/** @import { FinalEvent, PlanEvent } from "../protocol/job.ts" */
/** @import { ModelInfo } from "../protocol/model-info.ts" */
/** @import { Ask } from "./stream.js" */
import { Picture } from "./picture.js";
import { follow } from "./stream.js";
import { drawPlan, markDone, revisePlan } from "./timeline.js";
import { seconds } from "./words.js";

/**
 * A finished picture, and what it took. Milliseconds of the first preview are counted here, in the browser.
 * @typedef {{ policy: string, plan: PlanEvent, final: FinalEvent, blob: Blob, preview: number }} Made
 */

/** A picture with its plan: everything of it on the page. */
export class Print {
	#picture;

	/** @param {HTMLElement} root */
	constructor(root) {
		this.root = root;
		this.#picture = new Picture(/** @type {HTMLImageElement} */ (this.#part("picture")));
	}

	/** An empty one beside this. */
	another() {
		const root = /** @type {HTMLElement} */ (this.root.cloneNode(true));
		for (const element of [root, ...root.querySelectorAll("[id]")]) element.removeAttribute("id");
		this.root.after(root);
		return new Print(root);
	}

	/** @param {string} subject @param {string} [policy] named where there are two */
	clear(subject, policy) {
		this.#picture.clear(policy ? `${subject}, ${policy}` : subject);
		this.#part("caption").textContent = policy ?? subject;
		this.root.setAttribute("aria-label", policy ? `Picture of ${policy}` : "Picture");
		this.#part("timeline").replaceChildren();
		for (const part of ["download", "details"]) this.#part(part).hidden = true;
	}

	/**
	 * Resolves when the finished picture is on the screen. Rejects with what the edge says, or when stopped.
	 * @param {Ask} ask @param {ModelInfo | undefined} model
	 * @param {{ signal: AbortSignal, say(text: string): void, planned(): void }} on
	 * @returns {Promise<Made>}
	 */
	make(ask, model, { signal, say, planned }) {
		const begun = performance.now();
		const { promise, resolve, reject } = Promise.withResolvers();
		/** @type {PlanEvent | undefined} */
		let plan;
		let [stage, preview] = ["", 0];
		/** Pictures are shown in the order they came, however long each takes to decode. */
		let shown = Promise.resolve();
		const timeline = this.#part("timeline");
		const stop = follow(ask, {
			plan(event) {
				plan = event;
				drawPlan(timeline, event, model?.blocks);
				planned();
			},
			revision(event) {
				if (plan) revisePlan(timeline, (plan = { ...plan, plan: event.plan }), event.after, model?.blocks);
			},
			scale: ({ index, base64, mime, milliseconds, stage: reached }) => {
				markDone(timeline, index, milliseconds);
				if (!stage) say(`First preview after ${seconds((preview = performance.now() - begun))}.`);
				else if (stage !== reached) say(`Now the ${reached} stage.`);
				stage = reached;
				if (base64 && mime) shown = shown.then(() => this.#picture.show(base64, mime, String(index))).then(() => {});
			},
			final: (final) => {
				shown = shown
					.then(async () => {
						const blob = await this.#picture.show(final.base64, final.mime, "final");
						this.#finish(ask, plan?.model, final, blob);
						say(`Picture finished in ${seconds(performance.now() - begun)}.`);
						resolve({ policy: ask.policy, plan, final, blob, preview });
					})
					.catch(reject);
			},
			failed: (message) => reject(new Error(message)),
		});
		signal.addEventListener(
			"abort",
			() => {
				stop();
				reject(signal.reason);
			},
			{ once: true },
		);
		return promise;
	}

	/** @param {Ask} ask @param {string | undefined} model @param {FinalEvent} final @param {Blob} blob */
	#finish(ask, model, final, blob) {
		const download = /** @type {HTMLAnchorElement} */ (this.#part("download"));
		URL.revokeObjectURL(download.href);
		download.href = URL.createObjectURL(blob);
		const subject = ask.prompt ?? `class-${ask.class}`;
		const stem = subject.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60);
		download.download = `${stem}-${final.seed}.${final.mime.split("/")[1]}`;
		download.hidden = false;
		const facts = {
			seed: final.seed,
			policy: ask.policy,
			model,
			size: `${final.width}×${final.height}`,
			adapter: final.adapter,
			"on the worker": seconds(final.milliseconds),
			digest: final.digest,
			numerics: final.numerics,
			"SHA-256": final.sha256,
		};
		this.#part("facts").replaceChildren(
			...Object.entries(facts).flatMap(([name, value]) => {
				const [term, detail] = [document.createElement("dt"), document.createElement("dd")];
				term.textContent = name;
				detail.textContent = String(value);
				return [term, detail];
			}),
		);
		this.#part("details").hidden = false;
	}

	/** @param {string} name @returns {HTMLElement} */
	#part(name) {
		return /** @type {HTMLElement} */ (this.root.querySelector(`[data-part="${name}"]`));
	}
}
