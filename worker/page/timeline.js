// @ts-check
/** @import { PlanEvent } from "../protocol/job.ts" */
/** @import { RunStep, Step } from "../protocol/plan.ts" */
import { briefly } from "./words.js";

/**
 * One segment a scale of the plan, coloured by stage, with a bar for each guidance row, as long as the share of tokens
 * it computes; skipped ones are hatched.
 * @param {HTMLElement} list @param {PlanEvent} event @param {number | undefined} blocks of the model
 */
export function drawPlan(list, { plan, grids }, blocks) {
	list.replaceChildren(...plan.steps.map((step, index) => segment(step, grids[index], index, blocks)));
}

/**
 * The scales after `after` as they will run now.
 * @param {HTMLElement} list @param {PlanEvent} event as revised @param {number} after @param {number | undefined}
 * blocks
 */
export function revisePlan(list, { plan, grids }, after, blocks) {
	for (const [index, step] of plan.steps.entries())
		if (index > after) list.children[index].replaceWith(segment(step, grids[index], index, blocks));
}

/** @param {Step} step @param {readonly number[]} grid @param {number} index @param {number | undefined} blocks */
function segment(step, [height, width], index, blocks) {
	const item = document.createElement("li");
	item.dataset.index = String(index);
	item.dataset.state = step.kind === "skip" ? "skipped" : "waiting";
	const bars = document.createElement("span");
	bars.className = "bars";
	if (step.kind === "run") {
		item.dataset.stage = step.stage;
		const share = keptShare(step, height * width, blocks);
		for (let row = 0; row < rowsOf(step); row++) bars.append(bar(share));
		const rows = step.rows === "both" ? "" : step.rows === "uncond" ? ", text-free" : ", without guidance";
		item.title = `${step.stage} stage${rows}${share < 1 ? `, ${Math.round(100 * share)} % of the tokens` : ""}`;
	} else {
		bars.append(bar(1));
		item.title = "skipped";
	}
	item.append(bars, line(`${width}×${height}`), line(step.kind === "skip" ? "skipped" : "…"));
	return item;
}

/** @param {HTMLElement} list @param {number} index @param {number} milliseconds */
export function markDone(list, index, milliseconds) {
	const item = /** @type {HTMLElement} */ (list.children[index]);
	item.dataset.state = "done";
	/** @type {Element} */ (item.lastElementChild).textContent = briefly(milliseconds);
}

/**
 * Tokens that a plan computes, over all scales and guidance rows; of a scale on few tokens the mean over the blocks.
 * @param {PlanEvent} event @param {number | undefined} blocks
 */
export function work({ plan, grids }, blocks) {
	return plan.steps.reduce((sum, step, index) => {
		const tokens = grids[index][0] * grids[index][1];
		return step.kind === "skip" ? sum : sum + tokens * rowsOf(step) * keptShare(step, tokens, blocks);
	}, 0);
}

/** @param {RunStep} step */
function rowsOf({ rows }) {
	return rows === "both" ? 2 : 1;
}

/**
 * Share of a scale's tokens that go through a block, in the mean. @param {RunStep} step @param {number} tokens @param
 * {number | undefined} blocks
 */
function keptShare({ reduce }, tokens, blocks = Math.max(1, ...reduce.map(({ blocks: [, to] }) => to))) {
	return reduce.reduce(
		(share, { blocks: [from, to], count }) => share - ((to - from) / blocks) * (1 - count / tokens),
		1,
	);
}

/** @param {number} share */
function bar(share) {
	const element = document.createElement("i");
	element.style.width = `${100 * share}%`;
	return element;
}

/** @param {string} text */
function line(text) {
	const span = document.createElement("span");
	span.textContent = text;
	return span;
}
