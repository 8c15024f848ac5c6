import { paperText } from "../paper/markdown.ts";
import { budgetRows, memoryRows, memoryText } from "../paper/memory.ts";
import { paperRows } from "../paper/paper.ts";
import { BIG_MODELS } from "../paper/published.ts";
import { jsonOption } from "./options.ts";
import type { Define } from "./program.ts";

/** The big models' costs by policy, or what they take on a device, from plans alone, as Markdown. */
export const define: Define = (command, terminal) =>
	command
		.option("--memory", "what they take on a device, in every precision, in place of what policies cost")
		.addOption(jsonOption())
		.action(({ memory }) => {
			if (memory) {
				const [rows, budgets] = [memoryRows(), budgetRows()];
				terminal.print(memoryText(rows, budgets));
				terminal.result({ rows, budgets });
				return;
			}
			const models = BIG_MODELS.map((big) => ({ big, rows: paperRows(big) }));
			terminal.print(paperText(models));
			terminal.result(models.map(({ big: { title, textTokens }, rows }) => ({ model: title, textTokens, rows })));
		});
