import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { constants, getPriority } from "node:os";
import { expect, it } from "vitest";
import { giveWay } from "./give-way.ts";

it("gives way as a process and, where the system has them, as a session; one that is gone is no trouble", async () => {
	const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { detached: true, stdio: "ignore" });
	const pid = child.pid as number;
	const gone = once(child, "exit");
	try {
		await giveWay(pid);
		expect(getPriority(pid)).toBe(constants.priority.PRIORITY_BELOW_NORMAL);
		const session = `/proc/${pid}/autogroup`;
		if (existsSync(session)) expect(readFileSync(session, "utf8")).toMatch(/ nice 10$/m);
	} finally {
		child.kill();
		await gone;
	}
	await giveWay(pid);
});
