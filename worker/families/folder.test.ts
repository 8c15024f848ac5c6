/** Model folders: what a manifest lists is held against its configuration before anything of it is on a device. */
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { ModelFormatError } from "../../model-shards/format/errors.ts";
import { MANIFEST_FILE, type Manifest, manifestText, parseManifest } from "../../model-shards/format/manifest.ts";
import { POLICIES_FILE } from "../../model-shards/format/policies.ts";
import { sha256 } from "../../model-shards/format/sha256.ts";
import { bundledModels, findModel, openModelFolder } from "../../model-shards/open.ts";
import { openModel } from "../engine/open.ts";

const dir = await mkdtemp(join(tmpdir(), "folder-"));
afterAll(() => rm(dir, { recursive: true }));
let folders = 0;

/** The tiny model with another manifest, which is sound in itself. */
async function changed(edit: (manifest: Manifest, folder: string) => void | Promise<void>): Promise<string> {
	const out = join(dir, `${folders++}`);
	await cp(findModel("tiny"), out, { recursive: true });
	// Measured of the model as it was.
	await rm(join(out, POLICIES_FILE));
	const manifest = parseManifest(await readFile(join(out, MANIFEST_FILE), "utf8"));
	await edit(manifest, out);
	await writeFile(join(out, MANIFEST_FILE), manifestText(manifest));
	return out;
}
const tensorOf = ({ tensors }: Manifest, name: string) =>
	tensors.find((tensor) => tensor.name === name) as Manifest["tensors"][number];

it.each(bundledModels())("%s opens", async (name) => {
	expect((await openModelFolder(findModel(name))).info.id).toBe(name);
});

it.each<[string, (manifest: Manifest) => void, RegExp]>([
	[
		"a tensor of another shape",
		(m) => (tensorOf(m, "transformer.lvl_embed.weight").shape = [64, 15]),
		/lvl_embed\.weight has shape \[64,15\], the configuration asks for \[15,64\]/,
	],
	[
		"a tensor that is not there",
		(m) => (m.tensors = m.tensors.filter(({ name }) => name !== "transformer.pos_start")),
		/transformer\.pos_start is missing/,
	],
	[
		"a tensor of another configuration",
		(m) => (m.config.width = 32),
		/transformer\.pos_start has shape \[1,1,64\], the configuration asks for \[1,1,32\]/,
	],
	[
		"a table of whole numbers",
		(m) => {
			const words = tensorOf(m, "text_encoder.tok_embed.weight");
			const [rows, width] = words.shape;
			const { shard, offset } = words;
			const bytes = rows * width;
			Object.assign(words, { dtype: "I8", bytes, quantization: { group: 32, scales: `${words.name}.scales` } });
			const shape = [rows, width / 32];
			m.tensors.push({
				name: `${words.name}.scales`,
				dtype: "F16",
				shape,
				shard,
				offset: offset + bytes,
				bytes: bytes / 16,
			});
		},
		/text_encoder\.tok_embed\.weight has type I8; F32, F16 can be read there/,
	],
])("%s is refused", async (_, edit, message) => {
	const opened = openModelFolder(await changed(edit));
	await expect(opened).rejects.toThrow(ModelFormatError);
	await expect(opened).rejects.toThrow(message);
	await expect(opened).rejects.toThrow(/manifest\.json does not hold the tensors.*Import the model again/);
});

it("a tokenizer with an id beyond the encoder's words is refused, with nothing on the device", async () => {
	const gpu = await sharedGpu();
	const before = gpu.bytes;
	const out = await changed(async (manifest, folder) => {
		const { file } = manifest.tokenizer as NonNullable<Manifest["tokenizer"]>;
		const json = JSON.parse(await readFile(join(folder, file), "utf8"));
		json.model.vocab.zebras = 205;
		const bytes = new TextEncoder().encode(JSON.stringify(json));
		await writeFile(join(folder, file), bytes);
		manifest.tokenizer = { file, bytes: bytes.byteLength, sha256: await sha256(bytes) };
	});
	const opened = openModel(gpu, await openModelFolder(out));
	await expect(opened).rejects.toThrow(ModelFormatError);
	await expect(opened).rejects.toThrow(/ids up to 205; its text encoder knows those below 205\. Import/);
	expect(gpu.bytes).toBe(before);
});
