/** What follows from the grids of a model's schedules. */
import type { Schedule } from "../../protocol/model-info.ts";

export type Schedules = Readonly<Record<string, Schedule>>;

/** The last grids of all schedules, `patch` cells a side of a token. */
export const latentGrids = (schedules: Schedules, patch = 1): [height: number, width: number][] =>
	Object.values(schedules)
		.map(({ grids }) => grids[grids.length - 1])
		.map(([height, width]) => [height * patch, width * patch]);

/** Tokens of the largest map of all schedules. */
export const latentCells = (schedules: Schedules): number =>
	Math.max(...latentGrids(schedules).map(([height, width]) => height * width));

/** The name of the one whose scales have most tokens. */
export const longestSchedule = (schedules: Schedules): string => {
	const tokens = ({ grids }: Schedule) => grids.reduce((sum, [height, width]) => sum + height * width, 0);
	return Object.keys(schedules).reduce((a, b) => (tokens(schedules[b]) > tokens(schedules[a]) ? b : a));
};

/** Tokens of all scales before `scale`. */
export const firstToken = (tokens: readonly number[], scale: number): number =>
	tokens.slice(0, scale).reduce((sum, count) => sum + count, 0);
