/** The judge (JUDGE_CARD.md): finds the 80 objects of GenEval in a picture with their place, size and colour. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { InferenceSession, Tensor } from "onnxruntime-node";
import { z } from "zod";
import type { RgbImage } from "../../worker/engine/types.ts";
import { cellMeans } from "./cells.ts";
import { type Detection, THRESHOLD } from "./rules.ts";

const About = z.looseObject({
	objects: z.array(z.string()).min(1),
	/** The last one means "the object's own". */
	colors: z.array(z.string()).min(2),
	/** Of its input in pixels, and of its outputs in cells. */
	side: z.int().min(1),
	grid: z.int().min(1),
});
type About = z.infer<typeof About>;
/**
 * Of one picture, by cell: heat logits [objects], colour logits [colors], log of the side as a fraction [1], each
 * [channels, grid, grid].
 */
export interface Maps {
	heat: Float32Array;
	color: Float32Array;
	size: Float32Array;
}

/** Activations of one picture, layer by layer: [channels, places]. */
export type Features = { channels: number; data: Float32Array }[];

const OUTPUTS = ["heat", "color", "size"];
/** The last activations at 32, 16 and 8 cells a side, by their names in the network. */
const LAYERS = ["/to32/to32.1/Relu_output_0", "/to16/to16.2/Relu_output_0", "/to8/to8.2/Relu_output_0"];

export class Judge {
	/** SHA-256 of the network, which results belong to. */
	readonly digest: string;
	#about: About;
	#session: InferenceSession;
	#Tensor: typeof Tensor;

	private constructor(digest: string, about: About, session: InferenceSession, tensor: typeof Tensor) {
		this.digest = digest;
		this.#about = about;
		this.#session = session;
		this.#Tensor = tensor;
	}

	/** Throws where onnxruntime-node, a development dependency, is not installed. */
	static async open(dir: string = import.meta.dirname): Promise<Judge> {
		const ort = await import("onnxruntime-node").catch((error: Error) => {
			throw new Error(
				`The judge runs on onnxruntime-node, which cannot be loaded (${error.message}). ` +
					"Install the development dependencies too: npm ci.",
				{ cause: error },
			);
		});
		const network = await readFile(join(dir, "judge.onnx"));
		const about = About.parse(JSON.parse(await readFile(join(dir, "judge.json"), "utf8")));
		return new Judge(
			createHash("sha256").update(network).digest("hex"),
			about,
			await ort.InferenceSession.create(Buffer.concat([network, moreOutputs(LAYERS)])),
			ort.Tensor,
		);
	}

	/** What it finds in each picture over GenEval's lower threshold, best first. */
	async detect(pictures: readonly RgbImage[]): Promise<Detection[][]> {
		if (pictures.length === 0) return [];
		const { grid, objects, colors } = this.#about;
		const { heat, color, size } = await this.#run(pictures, OUTPUTS);
		const part = (tensor: Tensor, channels: number, i: number) =>
			(tensor.data as Float32Array).subarray(i * channels * grid * grid, (i + 1) * channels * grid * grid);
		return pictures.map((_, i) =>
			detections(
				{ heat: part(heat, objects.length, i), color: part(color, colors.length, i), size: part(size, 1, i) },
				this.#about,
			),
		);
	}

	/** What the network sees in each picture, to tell how far they are apart. */
	async features(pictures: readonly RgbImage[]): Promise<Features[]> {
		const layers = await this.#run(pictures, LAYERS);
		return pictures.map((_, i) =>
			LAYERS.map((name) => {
				const {
					data,
					dims: [, channels, height, width],
				} = layers[name];
				const size = channels * height * width;
				return { channels, data: (data as Float32Array).subarray(i * size, (i + 1) * size) };
			}),
		);
	}

	async #run(pictures: readonly RgbImage[], outputs: readonly string[]): Promise<Record<string, Tensor>> {
		const { side } = this.#about;
		const input = new Float32Array(pictures.length * 3 * side * side);
		pictures.forEach((picture, i) => input.set(judgeInput(picture, side), i * 3 * side * side));
		const image = new this.#Tensor("float32", input, [pictures.length, 3, side, side]);
		return (await this.#session.run({ image }, outputs)) as Record<string, Tensor>;
	}

	async close(): Promise<void> {
		await this.#session.release();
	}
}

/**
 * Outputs to add to an ONNX network: a message of the format's with nothing but `graph.output[].name`. Encoded messages
 * that are joined end to end are merged by whoever reads them, and lists in them appended.
 */
function moreOutputs(names: readonly string[]): Buffer {
	const [GRAPH, OUTPUT, NAME] = [7, 12, 1];
	const field = (id: number, content: Buffer) => {
		if (content.length >= 2 ** 14)
			throw new RangeError(`A field of ${content.length} bytes is longer than two bytes can say.`);
		const length = content.length < 2 ** 7 ? [content.length] : [(content.length & 127) | 128, content.length >> 7];
		return Buffer.concat([Buffer.from([(id << 3) | 2, ...length]), content]);
	};
	return field(GRAPH, Buffer.concat(names.map((name) => field(OUTPUT, field(NAME, Buffer.from(name))))));
}

/** [3, side, side] in [-1, 1]. */
export function judgeInput(picture: RgbImage, side: number): Float32Array {
	const means = cellMeans(picture, side);
	const cells = side * side;
	return Float32Array.from(means, (_, i) => means[(i % cells) * 3 + Math.floor(i / cells)] / 127.5 - 1);
}

/** Peaks of the heat among the 5 x 5 cells around them. */
export function detections(
	{ heat, color, size }: Maps,
	{ objects, colors, grid }: Pick<About, "objects" | "colors" | "grid">,
): Detection[] {
	const found: Detection[] = [];
	// Compared as f32, as the network's own framework does: saturated neighbours are equal there.
	const scores = Float32Array.from(heat, (logit) => 1 / (1 + Math.exp(-logit)));
	const cells = grid * grid;
	for (const [k, name] of objects.entries()) {
		for (let cell = 0; cell < cells; cell++) {
			const score = scores[k * cells + cell];
			const [y, x] = [Math.floor(cell / grid), cell % grid];
			if (score <= THRESHOLD || !isPeak(scores.subarray(k * cells, (k + 1) * cells), grid, y, x)) continue;
			let best = 0;
			for (let c = 1; c < colors.length - 1; c++) if (color[c * cells + cell] > color[best * cells + cell]) best = c;
			found.push({
				name,
				score,
				x: (x + 0.5) / grid,
				y: (y + 0.5) / grid,
				size: Math.exp(size[cell]),
				color: colors[best],
			});
		}
	}
	return found.sort((a, b) => b.score - a.score);
}

function isPeak(scores: Float32Array, grid: number, y: number, x: number): boolean {
	for (let v = Math.max(0, y - 2); v <= Math.min(grid - 1, y + 2); v++) {
		for (let u = Math.max(0, x - 2); u <= Math.min(grid - 1, x + 2); u++)
			if (scores[v * grid + u] > scores[y * grid + x]) return false;
	}
	return true;
}
