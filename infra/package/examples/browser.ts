/** A picture in a page, scale by scale; any bundler makes it browser.js. `?model=URL&prompt=TEXT` */
import { generate, openGpu, openModel, openModelAt, policies, type RgbImage } from "firstlight";

const canvas = document.querySelector("canvas") as HTMLCanvasElement;
const log = document.querySelector("pre") as HTMLPreElement;

function show({ width, height, data }: RgbImage): void {
	const pixels = new ImageData(width, height);
	for (let i = 0; i < width * height; i++) pixels.data.set([data[3 * i], data[3 * i + 1], data[3 * i + 2], 255], 4 * i);
	canvas.width = width;
	canvas.height = height;
	canvas.getContext("2d")?.putImageData(pixels, 0, 0);
}

try {
	const asked = new URLSearchParams(location.search);
	const where = new URL(asked.get("model") ?? "model", location.href).href;
	const prompt = asked.get("prompt") ?? "a photo of a red apple";
	const gpu = await openGpu();
	const model = await openModel(gpu, await openModelAt(where));
	const plan = policies.exact.plan(model.info, {});
	for await (const result of generate({ model, plan, prompt, seed: 7, previews: "all" })) {
		if (result.kind === "scale") {
			if (result.preview) show(result.preview);
			log.append(`${JSON.stringify({ scale: result.index, codes: [...result.codes] })}\n`);
		}
		if (result.kind === "final") show(result.image);
	}
	document.title = "done";
} catch (error) {
	log.append(String(error));
	document.title = "failed";
}
