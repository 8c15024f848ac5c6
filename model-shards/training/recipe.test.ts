/** The recipe's TypeScript; its Python is run by `npm run recipe:smoke`, which needs PyTorch. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseCaptions, readPictures } from "./pictures.ts";
import { DRAWINGS, ICONS } from "./sprites/art.ts";
import { iconSvg, render } from "./sprites/build.ts";

describe("captions.csv", () => {
	it("takes the columns by name, quotes, line ends and a byte order mark", () => {
		expect(parseCaptions('\uFEFFid,Caption,file\r\n1,"a cup, ""full""",one.png\r\n\r\n2,a tree,sub/two.jpg')).toEqual([
			{ file: "one.png", caption: 'a cup, "full"' },
			{ file: "sub/two.jpg", caption: "a tree" },
		]);
	});

	it.each([
		["name,caption\na,b", /columns file and caption/],
		["", /columns file and caption/],
		["file,caption\na.png,", /Row 2 .* lacks/],
		[`file,caption\na.png,${"x".repeat(1001)}`, /row 2 .* longer/],
	])("refuses %j", (text, message) => {
		expect(() => parseCaptions(text)).toThrow(message);
	});
});

describe("a folder of pictures", () => {
	let folder: string;
	beforeAll(async () => {
		folder = await mkdtemp(join(tmpdir(), "pictures-"));
		const wide = {
			create: { width: 6, height: 2, channels: 4, background: { r: 255, g: 0, b: 0, alpha: 1 } },
		} as const;
		await sharp(wide).png().toFile(join(folder, "red.png"));
		await sharp({ create: { ...wide.create, background: { r: 0, g: 0, b: 0, alpha: 0 } } })
			.png()
			.toFile(join(folder, "clear.png"));
	});
	afterAll(() => rm(folder, { recursive: true }));

	it("becomes squares of RGB bytes, clear parts white", async () => {
		await writeFile(join(folder, "captions.csv"), "file,caption\nred.png,red\nclear.png,nothing\n");
		const { captions, rgb } = await readPictures(folder, 4);
		expect(captions).toEqual(["red", "nothing"]);
		expect([...rgb]).toEqual([...Array(16).fill([255, 0, 0]), ...Array(16).fill([255, 255, 255])].flat());
	});

	it.each([
		["../red.png", /outside/],
		["none.png", /cannot be read as a picture/],
	])("refuses %s", async (file, message) => {
		await writeFile(join(folder, "captions.csv"), `file,caption\n${file},x\n`);
		await expect(readPictures(folder, 4)).rejects.toThrow(message);
	});
});

describe("sprites", () => {
	it("exist for every object of the benchmark, in its order", async () => {
		const root = join(import.meta.dirname, "..", "..");
		const names = (await readFile(join(root, "infra", "eval", "geneval", "object_names.txt"), "utf8"))
			.trim()
			.split("\n");
		expect(Object.keys(ICONS)).toEqual(names);
		expect(names.filter((name) => ICONS[name] === null)).toEqual(
			Object.keys(DRAWINGS).sort((a, b) => names.indexOf(a) - names.indexOf(b)),
		);
		const bundled = JSON.parse(await readFile(join(import.meta.dirname, "sprites", "sprites.json"), "utf8"));
		expect(bundled).toEqual({ side: 128, names });
	});

	it("are drawn at the size asked for, with straight alpha", async () => {
		const set = {
			icons: { dot: { body: '<circle cx="8" cy="8" r="8" fill="#00ff00" fill-opacity=".5"/>', left: 0, top: 0 } },
			aliases: { spot: { parent: "dot" } },
			width: 16,
			height: 16,
		};
		const pixels = await render(iconSvg(set, "spot"), 48);
		const at = (x: number, y: number) => [...pixels.subarray((y * 48 + x) * 4, (y * 48 + x) * 4 + 4)];
		expect(pixels.length).toBe(48 * 48 * 4);
		expect(at(0, 0)[3]).toBe(0);
		expect(at(24, 24)).toEqual([0, 255, 0, 128]);
		expect(() => iconSvg(set, "dash")).toThrow(/no dash/);
	});
});
