/** The offline bundle where there is nothing else: its own folder is the whole file system, and nobody runs it. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { expect, it } from "vitest";
import { findModel } from "../../model-shards/open.ts";
import { freePort } from "../start/free-port.ts";
import { temporaryFolder } from "../temporary.ts";
import { bundle, bundledNode } from "./bundle.ts";

const NOBODY = 65534;
const canChangeRoot = process.platform === "linux" && process.getuid?.() === 0;

it.skipIf(!canChangeRoot)("a worker opens its device and its model in an empty root", async () => {
	using folder = await temporaryFolder("firstlight-bundle-");
	const { bytes } = await bundle(folder.path, [findModel("tiny")], bundledNode());
	// Unpacked; what packs it makes less than a third of it.
	expect(bytes.all - bytes.models).toBeLessThan(190e6);
	const child = spawn(
		"/usr/sbin/chroot",
		[`--userspec=${NOBODY}:${NOBODY}`, folder.path, "/bin/node", "/app/worker.mjs"],
		// It dials in vain, which is all that is left to do, by a name that it has looked up.
		{
			env: {
				MODELS: "/models/tiny",
				EDGE_URL: `http://localhost:${await freePort()}`,
				WORKER_SECRET: "a-secret-of-the-test",
			},
		},
	);
	const lines: string[] = [];
	try {
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		for (const stream of [child.stdout, child.stderr])
			createInterface({ input: stream }).on("line", (line) => {
				lines.push(line);
				if (line.includes("no connection to")) resolve();
			});
		child.on("exit", (code) => reject(new Error(`It ended with ${code}:\n${lines.join("\n")}`)));
		await promise;
	} finally {
		child.removeAllListeners("exit");
		child.kill("SIGKILL");
	}
	expect(lines[0]).toMatch(/adapter: SwiftShader .* via Dawn/);
	expect(lines.some((line) => /model tiny loaded and warm/.test(line))).toBe(true);
	expect(lines.at(-1)).toContain("ECONNREFUSED");
});
