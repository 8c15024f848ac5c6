/** What tests of the page ask of it. */
import axe from "axe-core";
import type { Page } from "playwright-core";

/** What axe-core finds wrong with the page as it is now, by rule and place. */
export async function findings(page: Page): Promise<string[]> {
	// Evaluated by the debugger, which the page's own policy does not bind.
	await page.evaluate(axe.source);
	const violations = await page.evaluate(async () => {
		const { axe } = globalThis as unknown as { axe: typeof import("axe-core") };
		return (await axe.run(document, { resultTypes: ["violations"] })).violations;
	});
	return violations.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target}`));
}

export const overflows = (page: Page): Promise<boolean> =>
	page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
