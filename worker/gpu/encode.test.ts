import sharp from "sharp";
import { expect, it } from "vitest";
import { encodeImage, readMetadata } from "./encode.ts";

const image = { width: 5, height: 3, data: Uint8Array.from({ length: 45 }, (_, i) => i * 5) };
const metadata = {
	prompt: 'a "red" apple, яблоко 🍎 }',
	seed: 4294967295,
	model: "tiny",
	digest: `sha256:${"0".repeat(64)}`,
	numerics: "n",
	plan: {
		version: 1 as const,
		policy: "exact",
		model: `sha256:${"0".repeat(64)}`,
		schedule: "1:1",
		steps: [{ kind: "skip" as const }],
	},
};

it.each(["png", "webp", "jpeg"] as const)("%s keeps size and metadata", async (type) => {
	const bytes = await encodeImage(image, { type, quality: 90 }, metadata);
	expect(await sharp(bytes).metadata()).toMatchObject({ format: type, width: 5, height: 3 });
	expect(await readMetadata(bytes)).toEqual(metadata);
});

it("keeps the class where there is no prompt", async () => {
	const { prompt: _, ...rest } = metadata;
	const own = { class: 7, ...rest };
	expect(await readMetadata(await encodeImage(image, { type: "png", quality: 90 }, own))).toEqual(own);
});

it.each([
	{ width: 64, height: 40 },
	{ width: 10, height: 3 },
])("is resized where it is asked for: %j", async (size) => {
	const bytes = await encodeImage(image, { type: "png", quality: 90, size }, metadata);
	expect(await sharp(bytes).metadata()).toMatchObject(size);
	expect(await readMetadata(bytes)).toEqual(metadata);
	// From dark to bright, as it was: nothing is cut off or filled in.
	const { data } = await sharp(bytes).removeAlpha().raw().toBuffer({ resolveWithObject: true });
	expect([data[0] < 60, data[data.length - 1] > 160]).toEqual([true, true]);
});

it("png keeps every pixel", async () => {
	const bytes = await encodeImage(image, { type: "png", quality: 90 }, metadata);
	expect([...(await sharp(bytes).removeAlpha().raw().toBuffer())]).toEqual([...image.data]);
});

it("another picture has no metadata of ours", async () => {
	expect(
		await readMetadata(
			await sharp({ create: { width: 1, height: 1, channels: 3, background: "red" } })
				.png()
				.toBuffer(),
		),
	).toBeNull();
});
