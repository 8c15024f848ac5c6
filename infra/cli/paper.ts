import { paperText } from "../paper/markdown.ts";
import { paperRows } from "../paper/paper.ts";
import { BIG_MODELS } from "../paper/published.ts";
import { parse } from "./usage.ts";

/** The big models' costs by policy, from plans alone, as Markdown. */
export async function paperCommand(args: string[]): Promise<number> {
	parse({ args, options: {} });
	console.log(paperText(BIG_MODELS.map((big) => ({ big, rows: paperRows(big) }))));
	return 0;
}
