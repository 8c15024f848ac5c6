/** What a command writes comes whole, however late its reader is. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";

it("a reader that is slower than the command gets all of it", async () => {
	// The shell leaves the pipe as other programs do: one that writes to it need not wait.
	const shell = `"${process.execPath}" "${join(import.meta.dirname, "cli.ts")}" paper --json | (sleep 4; cat)`;
	const child = spawn("sh", ["-c", shell], { stdio: ["ignore", "pipe", "inherit"] });
	const text = (await child.stdout.setEncoding("utf8").toArray()).join("");
	expect(text.length).toBeGreaterThan(65_536);
	expect(JSON.parse(text)).toMatchObject([{ model: "Infinity-2B" }, {}, {}, {}]);
});
