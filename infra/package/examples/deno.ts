/**
 * A picture in Deno, scale by scale: `deno run -A deno.ts MODEL [PROMPT] [OUT.ppm]`, where MODEL is a model's folder or
 * its URL.
 */
import { generate, openGpu, openModel, openModelAt, policies } from "firstlight";

declare const Deno: { args: string[]; writeFile(path: string, data: Uint8Array): Promise<void> };

const [where, prompt = "a photo of a red apple", out = "picture.ppm"] = Deno.args;
const gpu = await openGpu();
console.error(gpu.facts.name);
const model = await openModel(gpu, await openModelAt(where));
const plan = policies.exact.plan(model.info, {});
for await (const result of generate({ model, plan, prompt, seed: 7, previews: "none" })) {
	if (result.kind === "scale") console.log(JSON.stringify({ scale: result.index, codes: [...result.codes] }));
	if (result.kind !== "final") continue;
	const { width, height, data } = result.image;
	const head = new TextEncoder().encode(`P6 ${width} ${height} 255\n`);
	await Deno.writeFile(out, new Uint8Array([...head, ...data]));
}
model.destroy();
gpu.destroy();
