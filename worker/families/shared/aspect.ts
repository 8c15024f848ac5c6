/** Aspect ratios of the Infinity family: each has a name, and a grid over which its rotary positions are spread. */
import { ModelFormatError } from "../../../model-shards/format/errors.ts";

/** h/w, name, and the official grids. A picture of 0.06, 0.25 or 1 megapixel uses the first 7, 10 or all 13. */
const TEMPLATES: [hDivW: number, name: string, grids: [number, number][]][] = [
	[
		1,
		"1:1",
		[
			[1, 1],
			[2, 2],
			[4, 4],
			[6, 6],
			[8, 8],
			[12, 12],
			[16, 16],
			[20, 20],
			[24, 24],
			[32, 32],
			[40, 40],
			[48, 48],
			[64, 64],
		],
	],
	[
		1.25,
		"5:4",
		[
			[1, 1],
			[2, 2],
			[3, 3],
			[5, 4],
			[10, 8],
			[15, 12],
			[20, 16],
			[25, 20],
			[30, 24],
			[35, 28],
			[45, 36],
			[55, 44],
			[70, 56],
		],
	],
	[
		1.333,
		"4:3",
		[
			[1, 1],
			[2, 2],
			[4, 3],
			[8, 6],
			[12, 9],
			[16, 12],
			[20, 15],
			[24, 18],
			[28, 21],
			[36, 27],
			[48, 36],
			[60, 45],
			[72, 54],
		],
	],
	[
		1.5,
		"3:2",
		[
			[1, 1],
			[2, 2],
			[3, 2],
			[6, 4],
			[9, 6],
			[15, 10],
			[21, 14],
			[27, 18],
			[33, 22],
			[39, 26],
			[48, 32],
			[63, 42],
			[78, 52],
		],
	],
	[
		1.75,
		"7:4",
		[
			[1, 1],
			[2, 2],
			[3, 3],
			[7, 4],
			[11, 6],
			[14, 8],
			[21, 12],
			[28, 16],
			[35, 20],
			[42, 24],
			[56, 32],
			[70, 40],
			[84, 48],
		],
	],
	[
		2,
		"2:1",
		[
			[1, 1],
			[2, 2],
			[4, 2],
			[6, 3],
			[10, 5],
			[16, 8],
			[22, 11],
			[30, 15],
			[38, 19],
			[46, 23],
			[60, 30],
			[74, 37],
			[90, 45],
		],
	],
	[
		2.5,
		"5:2",
		[
			[1, 1],
			[2, 2],
			[5, 2],
			[10, 4],
			[15, 6],
			[20, 8],
			[25, 10],
			[30, 12],
			[40, 16],
			[50, 20],
			[65, 26],
			[80, 32],
			[100, 40],
		],
	],
	[
		3,
		"3:1",
		[
			[1, 1],
			[2, 2],
			[6, 2],
			[9, 3],
			[15, 5],
			[21, 7],
			[27, 9],
			[36, 12],
			[45, 15],
			[54, 18],
			[72, 24],
			[90, 30],
			[111, 37],
		],
	],
];

export interface Aspect {
	/** height:width, for example `2:1` for an upright picture. */
	name: string;
	/** The last grid: rotary positions are spread over it, whatever size is generated. */
	reach: [number, number];
	/** The official grids, up to one megapixel. */
	grids: [number, number][];
}

/** Every aspect of the family, upright and flat. */
export const ASPECTS: readonly (Aspect & { hDivW: number })[] = TEMPLATES.flatMap(([hDivW, name, grids]) => {
	const flat = grids.map(([height, width]): [number, number] => [width, height]);
	const [last, flatLast] = [grids, flat].map((list) => list[list.length - 1]);
	const upright = { hDivW, name, reach: last, grids };
	return hDivW === 1
		? [upright]
		: [upright, { hDivW: 1 / hDivW, name: name.split(":").reverse().join(":"), reach: flatLast, grids: flat }];
});

/**
 * The aspect whose template is `hDivW`; templates are written with three digits, so a hundredth of slack is allowed.
 */
export function aspectOf(hDivW: number): Aspect {
	const aspect = nearest(hDivW);
	if (!(Math.abs(aspect.hDivW / hDivW - 1) < 0.01)) {
		throw new ModelFormatError(
			`Aspect ratio ${hDivW} (height / width) is not one of the family's: ${ASPECTS.map((a) => a.name).join(", ")}.`,
		);
	}
	return aspect;
}

/** The aspect nearest to a grid, for a schedule that does not say its template. */
export function aspectOfGrid([height, width]: readonly [number, number]): Aspect {
	return nearest(height / width);
}

function nearest(hDivW: number) {
	const distance = (a: { hDivW: number }) => Math.abs(Math.log(a.hDivW / hDivW));
	return ASPECTS.reduce((best, aspect) => (distance(aspect) < distance(best) ? aspect : best));
}
