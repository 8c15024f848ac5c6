import sharp from "sharp";
import type { RgbImage } from "../engine/types.ts";
import type { ImageFormat, Trunk } from "../protocol/job.ts";
import type { StagePlan } from "../protocol/plan.ts";

/** Written into every picture, so that it can be made again. */
export interface PictureMetadata {
	/** What it shows: text, or one of the model's classes. */
	prompt?: string;
	class?: number;
	seed: number;
	plan: StagePlan;
	model: string;
	digest: string;
	numerics: string;
	/** Where the first scales are those of another picture: its seed, and how many. */
	trunk?: Trunk;
}

/**
 * PNG, WebP or JPEG, resized where the format has a size, with the metadata as JSON in EXIF's ImageDescription (ASCII:
 * other characters are JSON escapes).
 */
export async function encodeImage(
	image: RgbImage,
	format: ImageFormat,
	metadata: PictureMetadata,
): Promise<Buffer<ArrayBuffer>> {
	const { width, height, data } = image;
	const raw = sharp(Buffer.from(data.buffer, data.byteOffset, data.byteLength), {
		raw: { width, height, channels: 3 },
	});
	const sized = format.size ? raw.resize({ ...format.size, fit: "fill" }) : raw;
	const described = sized.withExif({
		IFD0: { Software: "Firstlight", ImageDescription: ascii(JSON.stringify(metadata)) },
	});
	const { type, quality } = format;
	const encoded =
		type === "png"
			? described.png({ compressionLevel: 6 })
			: type === "webp"
				? described.webp({ quality })
				: described.jpeg({ quality });
	return (await encoded.toBuffer()) as Buffer<ArrayBuffer>;
}

/** What `encodeImage` wrote, or null for a picture that is not ours. */
export async function readMetadata(bytes: Uint8Array): Promise<PictureMetadata | null> {
	const { exif } = await sharp(bytes).metadata();
	const json = exif && /\{"(prompt|class)":.*\}/s.exec(exif.toString("latin1"))?.[0];
	return json ? (JSON.parse(json) as PictureMetadata) : null;
}

const ascii = (text: string) =>
	text.replace(/[^\x20-\x7e]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
