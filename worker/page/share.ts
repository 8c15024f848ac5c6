/** A picture taken along: as a file, a link, a copy, or the code that makes it again. */
import { type Ask, isJob } from "./edge.ts";
import { animated, exifOf, withExif } from "./picture-file.ts";
import { type Run, subjectOf, type Trunk } from "./run.ts";
import { seedOf, wholeOf } from "./units.ts";

export type FileType = "png" | "webp" | "jpeg";
export type Code = "curl" | "typescript" | "python";

const FRAME_MS = 350;
const LAST_FRAME_MS = 1600;
const QUALITY = 0.92;

/** The name of a picture's file, without its ending. */
export function stemOf({ ask }: Pick<Run, "ask">): string {
	const words = subjectOf(ask).replace(/[^\p{L}\p{N}\p{M}]+/gu, "-");
	// Whole characters, however many units each takes.
	const stem = [...words.replace(/^-+|-+$/g, "")].slice(0, 60).join("");
	return `${stem || "picture"}-${ask.seed}`;
}

/** The finished picture as a file of this type, with its settings inside. As it came, where it is of that type. */
export async function fileOf({ picture }: Pick<Run, "picture">, type: FileType): Promise<Blob> {
	if (!picture) throw new Error("There is no finished picture yet.");
	const mime = `image/${type}`;
	if (picture.type === mime) return picture;
	const drawn = await bytesOf(await encode(await drawing(picture), mime));
	const exif = exifOf(await bytesOf(picture));
	return new Blob([exif ? withExif(drawn, exif) : drawn], { type: mime });
}

/** Every preview and then the finished picture, over and over, as an animated WebP with its settings inside. */
export async function animationOf({ frames, picture }: Pick<Run, "frames" | "picture">): Promise<Blob> {
	if (!picture) throw new Error("There is no finished picture yet.");
	const { width, height } = await createImageBitmap(picture);
	const pictures = [...frames.flatMap(({ blob }) => blob ?? []), picture];
	const encoded = await Promise.all(
		pictures.map(async (blob, i) => ({
			bytes: await bytesOf(await encode(await drawing(blob, width, height), "image/webp")),
			milliseconds: i === pictures.length - 1 ? LAST_FRAME_MS : FRAME_MS,
		})),
	);
	return new Blob([animated(encoded, exifOf(await bytesOf(picture)))], { type: "image/webp" });
}

/** Hands a file to the browser's downloads. */
export function save(blob: Blob, name: string): void {
	const link = document.createElement("a");
	link.href = URL.createObjectURL(blob);
	link.download = name;
	link.click();
	setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** The address that shows this picture while it is kept, and makes it again afterwards. */
export function linkOf({ ask, job, trunk }: Pick<Run, "ask" | "job" | "trunk">): URL {
	const { prompt, class: label, model, schedule, seed, policy } = ask;
	const fields = {
		prompt,
		class: label,
		model,
		schedule,
		seed,
		policy,
		// A picture that was made in this browser is nowhere else.
		job: isJob(job) ? job : undefined,
	};
	const url = new URL(location.pathname, location.href);
	for (const [name, value] of Object.entries(fields)) if (value !== undefined) url.searchParams.set(name, value);
	for (const { seed, scales } of inOrder(trunk)) {
		url.searchParams.append("trunk", seed);
		url.searchParams.append("scales", String(scales));
	}
	return url;
}

/** Whose the first scales are, as a link says it; undefined where it says that of none, or no whole numbers. */
export function trunkIn(link: URLSearchParams): Trunk | undefined {
	const scales = link.getAll("scales");
	let trunk: Trunk | undefined;
	for (const [i, text] of link.getAll("trunk").entries()) {
		const [seed, count] = [seedOf(text), wholeOf(scales[i] ?? "", Number.MAX_SAFE_INTEGER)];
		if (seed === undefined || !count) return undefined;
		trunk = { seed: String(seed), scales: count, before: trunk };
	}
	return trunk;
}

const inOrder = (trunk: Trunk | undefined): Trunk[] => (trunk ? [...inOrder(trunk.before), trunk] : []);

/**
 * What asks this edge for the same picture from elsewhere. `size`: of the picture, which tells its shape; `keyed`: with
 * a key, which is not said but taken from the environment.
 */
export function codeOf(
	ask: Ask,
	code: Code,
	size: { width: number; height: number } | undefined,
	keyed: boolean,
	base = new URL(".", document.baseURI).href,
): string {
	const { prompt, class: label, model, schedule, seed, policy } = ask;
	if (code === "curl") {
		const query = new URLSearchParams(
			Object.entries({ prompt, class: label, model, schedule, seed, policy }).filter(
				(field): field is [string, string] => Boolean(field[1]),
			),
		);
		const header = keyed ? '-H "Authorization: Bearer $FIRSTLIGHT_KEY" ' : "";
		return `curl -N ${header}'${base}v1/images/preview?${query.toString().replaceAll("'", "%27")}'`;
	}
	const text = (value: string) => JSON.stringify(value);
	// A class stands in place of a prompt, which OpenAI's clients do not leave out.
	const extra: Record<string, string | number> = { seed: Number(seed), policy };
	if (label !== undefined) extra.class = Number(label);
	// Clients of OpenAI name a shape by its size; the model's first one goes without saying.
	if (schedule !== undefined && size) extra.size = `${size.width}x${size.height}`;
	const key = keyed ? "process.env.FIRSTLIGHT_KEY" : text("unused");
	if (code === "typescript")
		return `import { writeFile } from "node:fs/promises";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: ${text(`${base}v1`)}, apiKey: ${key} });
const { data } = await client.images.generate({
	model: ${text(model ?? "auto")},
	prompt: ${label === undefined ? text(prompt ?? "") : "null as never"},
	...${JSON.stringify(extra)},
});
await writeFile("picture.png", Buffer.from(data![0].b64_json!, "base64"));`;
	const fields = Object.entries(extra).map(([name, value]) => `${text(name)}: ${JSON.stringify(value)}`);
	if (label !== undefined) fields.push('"prompt": None');
	return `import base64
${keyed ? "import os\n" : ""}from openai import OpenAI

client = OpenAI(base_url=${text(`${base}v1`)}, api_key=${keyed ? 'os.environ["FIRSTLIGHT_KEY"]' : text("unused")})
answer = client.images.generate(
    model=${text(model ?? "auto")},
    prompt=${text(label === undefined ? (prompt ?? "") : "")},
    extra_body={${fields.join(", ")}},
)
with open("picture.png", "wb") as file:
    file.write(base64.b64decode(answer.data[0].b64_json))`;
}

async function drawing(blob: Blob, width?: number, height?: number): Promise<OffscreenCanvas> {
	const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
	const canvas = new OffscreenCanvas(width ?? bitmap.width, height ?? bitmap.height);
	const context = canvas.getContext("2d");
	if (!context) throw new Error("This browser gives no canvas to draw on.");
	context.imageSmoothingQuality = "high";
	context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
	bitmap.close();
	return canvas;
}

async function encode(canvas: OffscreenCanvas, type: string): Promise<Blob> {
	const blob = await canvas.convertToBlob({ type, quality: QUALITY });
	// A browser that cannot write a type writes PNG and does not say so.
	if (blob.type !== type) throw new Error(`This browser cannot write ${type.slice(6).toUpperCase()}.`);
	return blob;
}

async function bytesOf(blob: Blob): Promise<Uint8Array<ArrayBuffer>> {
	return new Uint8Array(await blob.arrayBuffer());
}
