/** What a plan leaves to its picture is measured between two rounds. */
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import { copy } from "../../../kernels/tokens/gather.ts";
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
	using made = new Scope(gpu);
	const { channels } = latents;
	const { pixel, height, width } = latents.of(picture);
	const latent = made.tensor("latent to measure", [height * width, channels]);
	const pass = gpu.pass("measure");
	copy(pass, {
		x: latents.tensor,
		from: pixel * channels,
		y: latent,
		count: height * width * channels,
		label: "latent to measure",
	});
	const [data] = await pass.submit([latent]);
	return highFrequencyShare(new Float32Array(data), [height, width], picture.grids[scale], channels);
}
