import { Argument } from "@commander-js/extra-typings";
import { KeyDescription, KeyList, MintedKey, Scope } from "../../worker/protocol/api-key.ts";
import { asker, SECRET_HELP } from "./admin.ts";
import { count, flags, givenOptions, jsonOption, positive } from "./options.ts";
import type { Define } from "./program.ts";
import { oneOf, UsageError } from "./usage.ts";

const ACTIONS = ["mint", "list", "revoke"] as const;

/** Looks after an edge's API keys, over its admin routes. */
export const define: Define = (command, terminal) =>
	command
		.addArgument(
			new Argument("<action>", "what to do").choices(ACTIONS).argParser((text) => oneOf("action", text, ACTIONS)),
		)
		.argument("[name]", "mint: whom the key is for; revoke: the key's id")
		.option("--url <url>", "the edge", "http://localhost:8787")
		.option("--scopes <list>", "mint: what it may do, of generate, read, admin", scopesOf, ["generate", "read"])
		.option("--days <count>", "mint: it expires after so many", count("days", 1, 3650))
		.option("--per-minute <count>", "mint: requests a minute", count("per-minute", 1, 100_000))
		.option("--concurrent <count>", "mint: pictures at once", count("concurrent", 1, 10_000))
		.option("--per-day <count>", "mint: pictures a day", count("per-day", 1, 10_000_000))
		.option("--weight <share>", "mint: its share where workers are short, against other keys'", positive("weight"))
		.addOption(jsonOption())
		.addHelpText("after", SECRET_HELP)
		.action(async (action, name, { url, scopes, days, perMinute, concurrent, perDay, weight }) => {
			const ofNew = givenOptions(command).filter((option) => option !== "url");
			if (action !== "mint" && ofNew.length > 0)
				throw new UsageError(`keys ${action} makes no new key: leave ${flags(ofNew, "and")} out.`);
			const ask = asker(url, terminal.signal);
			if (action === "list") {
				const list = KeyList.parse(await ask("GET", "/keys"));
				terminal.print(list.data.map(lineOf).join("\n") || "There is no key.");
				return terminal.result(list);
			}
			if (name === undefined)
				throw new UsageError(`keys ${action} needs ${action === "mint" ? "a name for the key" : "the key's id"}.`);
			if (action === "revoke") {
				const key = KeyDescription.parse(await ask("DELETE", `/keys/${encodeURIComponent(name)}`));
				terminal.print(`Revoked: ${lineOf(key)}`);
				return terminal.result(key);
			}
			const minted = MintedKey.parse(
				await ask("POST", "/keys", {
					name,
					scopes,
					expires_in_days: days,
					limits: { per_minute: perMinute, concurrent, per_day: perDay, weight },
				}),
			);
			terminal.print(`${minted.key}\nKept nowhere: it is shown this once. Its id is ${minted.id}.`);
			terminal.result(minted);
		});

function scopesOf(text: string): Scope[] {
	return text.split(",").map((scope) => oneOf("scopes", scope.trim(), Scope.options));
}

function lineOf({ id, name, scopes, limits, expires, revoked }: KeyDescription): string {
	const date = (seconds: number) => new Date(seconds * 1000).toISOString().slice(0, 10);
	const end = revoked !== null ? `revoked ${date(revoked)}` : expires !== null ? `expires ${date(expires)}` : "good";
	const { per_minute, concurrent, per_day, weight } = limits;
	return (
		`${id}  ${end}  ${scopes.join(",")}  ${per_minute}/min, ${per_day}/day, ${concurrent} at once, ` +
		`weight ${weight}  ${name}`
	);
}
