/** The engine in the browser itself. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect } from "vitest";
import { launch } from "../../../infra/page/chromium.ts";
import { openGpu } from "../../../kernels/gpu/native/open.ts";
import { findModel, openModelAt } from "../../../model-shards/open.ts";
import { openModel } from "../../../worker/engine/open.ts";
import { policies } from "../../../worker/policies/index.ts";
import { findings } from "../browser.ts";
import { asked, done, facts, it, open, parts, THREE_WORDS } from "./setup.ts";

it("computes in this browser, with the codes of the engine elsewhere", async () => {
	await promisify(execFile)(process.execPath, ["infra/cli/cli.ts", "publish", "tiny"], {
		env: { ...process.env, STATE_DIR: parts.state },
	});
	expect((await fetch(`${parts.url}/v1/models/var-tiny/files/manifest.json`)).status).toBe(401);
	const own = await launch({ gpu: true });
	try {
		const page = await (await own.newContext()).newPage();
		const queries = asked(page);
		await open({ prompt: THREE_WORDS, seed: "7", policy: "stagevar" }, page);
		const loaded = () => page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => name));
		expect((await loaded()).filter((name) => name.includes("engine"))).toEqual([]);
		await page.click("#settings summary");
		await page.check("#here");
		await page.keyboard.press("Escape");
		await page.click("#go");
		await done(page);
		expect(queries).toEqual([]);
		expect((await facts(page)).adapter).toMatch(/in this browser$/);
		expect(await page.$$("#film button")).toHaveLength(4);
		expect(await findings(page)).toEqual([]);

		const codes = await page.evaluate(
			([files, prompt]) =>
				new Promise<string[]>((resolve, reject) => {
					const codes: string[] = [];
					const engine = new Worker("engine.js", { type: "module" });
					engine.onmessage = ({ data }) => {
						if (data.kind === "event" && data.event.type === "scale") codes.push(data.event.codes);
						if (data.kind === "failed") reject(new Error(data.message));
						if (data.kind === "end") resolve(codes);
					};
					const ask = { prompt, seed: "7", policy: "stagevar", format: "png" };
					engine.postMessage({ kind: "make", id: 1, files: new URL(files, location.href).href, ask });
				}),
			["v1/models/tiny/files", THREE_WORDS],
		);
		const gpu = await openGpu();
		const model = await openModel(gpu, await openModelAt(findModel("tiny")));
		const plan = policies.stagevar.plan(model.info, {});
		const results = await Array.fromAsync(model.generate({ plan, prompt: THREE_WORDS, seed: 7, previews: "none" }));
		expect(codes).toEqual(
			results.flatMap((result) => (result.kind === "scale" ? Buffer.from(result.codes).toString("base64") : [])),
		);
		model.destroy();
		gpu.destroy();
	} finally {
		await own.close();
	}
});
