/**
 * A picture in Node, scale by scale: `node node.ts MODEL [PROMPT] [OUT.ppm]`, where MODEL is a model's folder or its
 * URL.
 */
import { writeFile } from "node:fs/promises";
import { generate, openGpu, openModel, openModelAt, policies } from "firstlight";

const [where, prompt = "a photo of a red apple", out = "picture.ppm"] = process.argv.slice(2);
const gpu = await openGpu();
console.error(gpu.facts.name);
const model = await openModel(gpu, await openModelAt(where));
const plan = policies.exact.plan(model.info, {});
for await (const result of generate({ model, plan, prompt, seed: 7, previews: "none" })) {
	if (result.kind === "scale") console.log(JSON.stringify({ scale: result.index, codes: [...result.codes] }));
	if (result.kind !== "final") continue;
	const { width, height, data } = result.image;
	await writeFile(out, Buffer.concat([Buffer.from(`P6 ${width} ${height} 255\n`), data]));
}
model.destroy();
gpu.destroy();
