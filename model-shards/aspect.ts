/** Aspect ratios of the Infinity family: each has a name, and a grid over which its rotary positions are spread. */
import { ModelFormatError } from "./manifest.ts";

/** h/w, name, [height, width] of the last scale of the official 1M schedule. */
const TEMPLATES: [hDivW: number, name: string, reach: [number, number]][] = [
	[1, "1:1", [64, 64]],
	[1.25, "5:4", [70, 56]],
	[1.333, "4:3", [72, 54]],
	[1.5, "3:2", [78, 52]],
	[1.75, "7:4", [84, 48]],
	[2, "2:1", [90, 45]],
	[2.5, "5:2", [100, 40]],
	[3, "3:1", [111, 37]],
];

export interface Aspect {
	/** height:width, for example `2:1` for an upright picture. */
	name: string;
	reach: [number, number];
}

const ASPECTS: (Aspect & { hDivW: number })[] = TEMPLATES.flatMap(([hDivW, name, reach]) => {
	const upright = { hDivW, name, reach };
	const flat = { hDivW: 1 / hDivW, name: name.split(":").reverse().join(":"), reach: [reach[1], reach[0]] as [number, number] };
	return hDivW === 1 ? [upright] : [upright, flat];
});

/** The aspect whose template is `hDivW`; templates are written with three digits, so a hundredth of slack is allowed. */
export function aspectOf(hDivW: number): Aspect {
	const { hDivW: template, name, reach } = nearest(hDivW);
	if (!(Math.abs(template / hDivW - 1) < 0.01)) {
		throw new ModelFormatError(`Aspect ratio ${hDivW} (height / width) is not one of the family's: ${ASPECTS.map((a) => a.name).join(", ")}.`);
	}
	return { name, reach };
}

/** The aspect nearest to a grid, for a schedule that does not say its template. */
export function aspectOfGrid([height, width]: readonly [number, number]): Aspect {
	const { name, reach } = nearest(height / width);
	return { name, reach };
}

function nearest(hDivW: number) {
	const distance = (a: { hDivW: number }) => Math.abs(Math.log(a.hDivW / hDivW));
	return ASPECTS.reduce((best, aspect) => (distance(aspect) < distance(best) ? aspect : best));
}
