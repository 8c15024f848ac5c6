/** What tests of the page ask of it. */
import axe from "axe-core";
import type { Page } from "playwright-core";
import sharp from "sharp";

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

const THEMES = (["light", "dark"] as const).flatMap((colorScheme) =>
	(["none", "active"] as const).map((forcedColors) => ({ colorScheme, forcedColors })),
);

/**
 * Controls whose edge stands out from what is around it by less than 3:1 (WCAG 1.4.11), by theme, each with the
 * contrast of its weakest side. Judged by the pixels that are drawn, where they are enabled and not covered; what is
 * text alone is known by its text.
 */
export async function faintControls(page: Page): Promise<string[]> {
	const size = page.viewportSize();
	await page.setViewportSize({ width: 1366, height: 1600 });
	const faint: string[] = [];
	for (const theme of THEMES) {
		await page.emulateMedia(theme);
		const found = await faintNow(page);
		faint.push(...found.map((control) => `${theme.colorScheme}, forced ${theme.forcedColors}: ${control}`));
	}
	await page.emulateMedia({ colorScheme: null, forcedColors: null });
	if (size) await page.setViewportSize(size);
	return faint;
}

async function faintNow(page: Page): Promise<string[]> {
	const controls = await page.evaluate(() => {
		const TEXT = ".link, .sheet > button, details:not(.menu) > summary, a";
		(document.activeElement as HTMLElement | null)?.blur();
		const drawn = (element: Element) => {
			const { borderTopWidth, borderTopStyle } = getComputedStyle(element);
			const native = element.matches("[type=checkbox], [type=radio], [type=range]");
			return native || (borderTopStyle !== "none" && borderTopWidth !== "0px");
		};
		return [...document.querySelectorAll("button, input, select, textarea, summary")].flatMap((control) => {
			if (control.matches(TEXT) || control.matches(":disabled") || !control.checkVisibility()) return [];
			// A frame's cell, a prompt's box and a choice's label are drawn in place of what they hold.
			const box = control.closest(".prompt, .choices label") ?? [control, ...control.children].find(drawn) ?? control;
			const { left, top, right, bottom } = box.getBoundingClientRect();
			const over = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
			const seen = over && (box.contains(over) || over.contains(control)) && !over.matches("dialog");
			if (!seen || (box === control && getComputedStyle(control).opacity === "0")) return [];
			const { localName, id, className, textContent } = control;
			const text = textContent?.trim().slice(0, 20);
			const name = `${localName}${id && `#${id}`}${className && `.${className}`} ${text}`;
			return [{ name, left, top, right, bottom, range: control.matches("[type=range]") }];
		});
	});
	const { data, info } = await sharp(await page.screenshot())
		.removeAlpha()
		.raw()
		.toBuffer({ resolveWithObject: true });
	const luminance = (x: number, y: number) => {
		const within = (value: number, size: number) => Math.min(size - 1, Math.max(0, value));
		const at = 3 * (within(y, info.height) * info.width + within(x, info.width));
		const [r, g, b] = [...data.subarray(at, at + 3)].map((value) => {
			const share = value / 255;
			return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
		});
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const contrast = (a: number, b: number) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
	/** From three pixels outside an edge to three within: the strongest contrast with the outermost one. */
	const across = (x: number, y: number, dx: number, dy: number, reach = 7) => {
		const pixels = Array.from({ length: reach }, (_, i) => luminance(x + (i - 3) * dx, y + (i - 3) * dy));
		return Math.max(...pixels.map((pixel) => contrast(pixel, pixels[0])));
	};
	if (controls.length === 0) throw new Error("The page shows no control.");
	return controls.flatMap(({ name, left, top, right, bottom, range }) => {
		const [x, y] = [Math.round((left + right) / 2), Math.round((top + bottom) / 2)];
		const [l, t, r, b] = [Math.round(left), Math.round(top), Math.round(right) - 1, Math.round(bottom) - 1];
		// Of a slider the thumb is what is taken hold of.
		const sides = range
			? [across(l, y, 1, 0, r - l)]
			: [across(l, y, 1, 0), across(r, y, -1, 0), across(x, t, 0, 1), across(x, b, 0, -1)];
		const weakest = Math.min(...sides);
		return weakest < 3 ? [`${name}: ${weakest.toFixed(2)}`] : [];
	});
}
