/** What a plan leaves to its picture is measured between two rounds. */
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Decision } from "../../protocol/plan.ts";
import { detailByToken, shareHolding } from "./detail.ts";
import { highFrequencyShare } from "./frequency.ts";
import type { Latents } from "./latents.ts";
import type { Picture } from "./picture.ts";

/** The number that settles a decision, of a picture whose scale `decide.after` has run. */
export async function measure(gpu: Gpu, latents: Latents, picture: Picture, decide: Decision): Promise<number> {
	if (decide.measure === "high-frequency") return await highFrequency(gpu, latents, picture, decide.after);
	const detail = picture.details.get(decide.after);
	if (!detail) throw new Error(`The picture after scale ${decide.after} was not looked at.`);
	return shareHolding(detailByToken(detail, picture.grids[picture.grids.length - 1]), decide.hold);
}

async function highFrequency(gpu: Gpu, latents: Latents, picture: Picture, scale: number): Promise<number> {
	const { channels, tensor } = latents;
	const { pixel, height, width } = latents.of(picture);
	const floats = height * width * channels;
	// Read where it lies: nothing is made for it.
	const [data] = await gpu.read([{ ...tensor, offset: tensor.offset + 4 * pixel * channels, bytes: 4 * floats }]);
	return highFrequencyShare(new Float32Array(data), [height, width], picture.grids[scale], channels);
}
