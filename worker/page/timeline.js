// @ts-check
/** @import { PlanEvent, RevisionEvent } from "../protocol/job.ts" */

/**
 * One segment a scale of the plan, coloured by stage; skipped ones are hatched.
 * @param {HTMLElement} list @param {PlanEvent} event
 */
export function drawPlan(list, { plan, grids }) {
	list.replaceChildren(
		...plan.steps.map((step, index) => {
			const item = document.createElement("li");
			item.dataset.index = String(index);
			item.dataset.state = step.kind === "skip" ? "skipped" : "waiting";
			if (step.kind === "run") item.dataset.stage = step.stage;
			const [height, width] = grids[index];
			item.append(line(`${width}×${height}`), line(step.kind === "skip" ? "skipped" : "…"));
			item.title = step.kind === "skip" ? "skipped" : `${step.stage} stage`;
			return item;
		}),
	);
}

/**
 * The scales after `after` as they will run now.
 * @param {HTMLElement} list @param {RevisionEvent} event
 */
export function revisePlan(list, { after, plan }) {
	for (const [index, step] of plan.steps.entries()) {
		if (index <= after || step.kind === "run") continue;
		const item = /** @type {HTMLElement} */ (list.children[index]);
		item.dataset.state = "skipped";
		delete item.dataset.stage;
		item.title = "skipped";
		/** @type {Element} */ (item.lastElementChild).textContent = "skipped";
	}
}

/** @param {HTMLElement} list @param {number} index @param {number} milliseconds */
export function markDone(list, index, milliseconds) {
	const item = /** @type {HTMLElement} */ (list.children[index]);
	item.dataset.state = "done";
	/** @type {Element} */ (item.lastElementChild).textContent = `${Math.round(milliseconds)} ms`;
}

/** @param {string} text */
function line(text) {
	const span = document.createElement("span");
	span.textContent = text;
	return span;
}
