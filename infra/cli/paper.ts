import { paperText } from "../paper/markdown.ts";
import { paperRows } from "../paper/paper.ts";
import { BIG_MODELS } from "../paper/published.ts";
import { jsonOption } from "./options.ts";
import type { Define } from "./program.ts";

/** The big models' costs by policy, from plans alone, as Markdown. */
export const define: Define = (command, terminal) =>
	command.addOption(jsonOption()).action(() => {
		const models = BIG_MODELS.map((big) => ({ big, rows: paperRows(big) }));
		terminal.print(paperText(models));
		terminal.result(models.map(({ big: { title, textTokens }, rows }) => ({ model: title, textTokens, rows })));
	});
