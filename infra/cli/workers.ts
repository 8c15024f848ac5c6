import { Argument } from "@commander-js/extra-typings";
import { z } from "zod";
import { asker, SECRET_HELP } from "./admin.ts";
import { jsonOption } from "./options.ts";
import type { Define } from "./program.ts";
import { oneOf, UsageError } from "./usage.ts";

const ACTIONS = ["list", "revoke", "admit"] as const;
/** What is shown here, and whatever else the edge says, for `--json`. */
const Workers = z.looseObject({
	data: z.array(z.looseObject({ worker: z.string(), state: z.string(), adapter: z.string().optional() })),
});

/** Looks after an edge's GPU workers: one that is revoked is dropped and not let in, until it is admitted again. */
export const define: Define = (command, terminal) =>
	command
		.addArgument(
			new Argument("<action>", "what to do").choices(ACTIONS).argParser((text) => oneOf("action", text, ACTIONS)),
		)
		.argument("[worker]", "revoke, admit: its name")
		.option("--url <url>", "the edge", "http://localhost:8787")
		.addOption(jsonOption())
		.addHelpText("after", SECRET_HELP)
		.action(async (action, worker, { url }) => {
			const ask = asker(url, terminal.signal);
			if (action !== "list") {
				if (worker === undefined) throw new UsageError(`workers ${action} needs a worker's name.`);
				await ask(action === "revoke" ? "DELETE" : "POST", `/workers/${encodeURIComponent(worker)}`);
			}
			const list = Workers.parse(await ask("GET", "/workers"));
			const lines = list.data.map(({ worker, state, adapter }) => `${worker}  ${state}  ${adapter ?? ""}`.trimEnd());
			terminal.print(lines.join("\n") || "There is no worker.");
			terminal.result(list);
		});
