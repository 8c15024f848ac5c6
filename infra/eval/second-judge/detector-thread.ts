/**
 * LiteRT's WebAssembly runtime, in a thread of its own: it is made for pages, asks for their globals, and says much.
 * Takes pictures as [side, side, 3], answers with the best score of every class.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import vm from "node:vm";
import { parentPort, workerData } from "node:worker_threads";
import type { Network } from "./detector.ts";

const { network, side, classes } = workerData as Network;
const require = createRequire(import.meta.url);
const runtime = require.resolve("@litertjs/core/wasm/litert_wasm_internal.js");
Object.assign(globalThis, {
	self: globalThis,
	require,
	__dirname: dirname(runtime),
	__filename: runtime,
	importScripts: (file: string) => vm.runInThisContext(readFileSync(file, "utf8"), { filename: file }),
});
const { loadAndCompile, loadLiteRt, Tensor } = await import("@litertjs/core");
await loadLiteRt(runtime);
const model = await loadAndCompile(network, { accelerator: "wasm" });

parentPort?.on("message", async (pixels: Float32Array<ArrayBuffer>) => {
	const input = new Tensor(pixels, [1, side, side, 3]);
	const outputs = await model.run(input);
	// Boxes, then logits: [1, anchors, classes].
	const logits = outputs[1].toTypedArray();
	const best = Array.from({ length: classes }, () => -Infinity);
	for (let i = 0; i < logits.length; i++) best[i % classes] = Math.max(best[i % classes], logits[i]);
	for (const tensor of [input, ...outputs]) tensor.delete();
	parentPort?.postMessage(best.map((logit) => 1 / (1 + Math.exp(-logit))));
});
parentPort?.postMessage("ready");
