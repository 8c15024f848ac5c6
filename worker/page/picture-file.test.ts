import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { encodeImage, readMetadata } from "../gpu/encode.ts";
import { animated, exifOf, exifOfSettings, settingsIn, withExif } from "./picture-file.ts";

const image = { width: 24, height: 16, data: Uint8Array.from({ length: 24 * 16 * 3 }, (_, i) => (i * 7) % 256) };
const metadata = {
	prompt: 'ein "roter" Apfel 🍎',
	seed: 7,
	plan: { policy: "stagevar", schedule: "1:1" } as never,
	model: "tiny",
	digest: "sha256:0",
	numerics: "n",
};
const settings = { prompt: metadata.prompt, seed: "7", policy: "stagevar", model: "tiny", schedule: "1:1" };
const ours = async (type: "png" | "webp" | "jpeg") =>
	new Uint8Array(await encodeImage(image, { type, quality: 90 }, metadata));
const bare = async (type: "png" | "webp" | "jpeg") =>
	new Uint8Array(
		await sharp(image.data, { raw: { width: 24, height: 16, channels: 3 } })
			[type]()
			.toBuffer(),
	);

describe.each(["png", "webp", "jpeg"] as const)("%s", (type) => {
	it("has its settings inside, as a worker wrote them", async () => {
		expect(settingsIn(await ours(type))).toMatchObject(settings);
		expect(settingsIn(await bare(type))).toBeUndefined();
	});

	it("takes settings along, and stays the same picture", async () => {
		const exif = exifOf(await ours("png"));
		if (!exif) throw new Error("The worker wrote no EXIF.");
		const before = await bare(type);
		const after = withExif(before, exif);
		expect(settingsIn(after)).toMatchObject(settings);
		expect(await readMetadata(after)).toMatchObject({ prompt: metadata.prompt, seed: 7 });
		expect(await sharp(after).raw().toBuffer()).toEqual(await sharp(before).raw().toBuffer());
	});

	it("has settings that were written in a browser", async () => {
		const trunk = { seed: 5, scales: 3, before: { seed: 4, scales: 1 } };
		const after = withExif(await bare(type), exifOfSettings({ ...metadata, trunk }));
		const said = { seed: "5", scales: 3, before: { seed: "4", scales: 1 } };
		expect(settingsIn(after)).toMatchObject({ ...settings, trunk: said });
		expect(await readMetadata(after)).toMatchObject({ prompt: metadata.prompt });
		expect((await sharp(after).metadata()).width).toBe(24);
	});
});

it("frames become an animation that others can read", async () => {
	const exif = exifOfSettings(metadata);
	const frames = [
		{ bytes: await bare("webp"), milliseconds: 350 },
		{
			bytes: new Uint8Array(
				await sharp(await bare("png"))
					.negate()
					.webp({ lossless: true })
					.toBuffer(),
			),
			milliseconds: 1600,
		},
	];
	const bytes = animated(frames, exif);
	const read = await sharp(bytes, { animated: true }).metadata();
	expect([read.pages, read.width, read.pageHeight, read.delay, read.loop]).toEqual([2, 24, 16, [350, 1600], 0]);
	expect(settingsIn(bytes)).toMatchObject(settings);
	const second = await sharp(bytes, { page: 1 }).removeAlpha().raw().toBuffer();
	expect(second).toEqual(await sharp(frames[1].bytes).removeAlpha().raw().toBuffer());
});

it("a prompt is as long as the edge takes it, counted as people count", async () => {
	const of = async (prompt: string) =>
		settingsIn(withExif(await bare("png"), exifOfSettings({ prompt, seed: 1 })))?.prompt;
	const longest = "🍎".repeat(2000);
	expect(await of(longest)).toBe(longest);
	expect(await of(`${longest}.`)).toBeUndefined();
});

it("hostile files have no settings, and break nothing", async () => {
	const png = await ours("png");
	for (let cut = 0; cut < png.length; cut += 37) settingsIn(png.slice(0, cut));
	for (const wrong of [
		{ prompt: "x", seed: -1 },
		{ prompt: "x", seed: "1" },
		{ prompt: "x" },
		{ class: {}, plan: 3 },
	]) {
		const bytes = withExif(await bare("png"), exifOfSettings(wrong));
		expect(settingsIn(bytes)).toBeUndefined();
	}
	expect(settingsIn(withExif(await bare("png"), exifOfSettings({ prompt: "x".repeat(3000), seed: 1 })))?.prompt).toBe(
		undefined,
	);
});
