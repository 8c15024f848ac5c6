import { describe, expect, it } from "vitest";
import { modelInfo, modelOf } from "../../worker/families/model.ts";
import { publishedVar } from "../../worker/families/var/published.ts";
import { ModelInfo } from "../../worker/protocol/model-info.ts";
import { SMALL } from "../testing.ts";
import { ModelFormatError } from "./errors.ts";
import { type Manifest, manifestDigest, manifestText, parseManifest, tensorBytes } from "./manifest.ts";

const sha256 = "0".repeat(64);
function sound(): Manifest {
	return {
		format: "firstlight-model",
		version: 1,
		name: "small",
		family: "infinity",
		config: structuredClone(SMALL),
		schedules: {
			"1:1": {
				grids: [
					[1, 1],
					[2, 2],
				],
				image: { height: 4, width: 4 },
			},
		},
		defaultSchedule: "1:1",
		sampling: { guidance: 3, tau: 0.5, topK: 0, topP: 0 },
		tokenizer: null,
		licence: "none",
		tensors: [
			{ name: "a", dtype: "F16", shape: [3], shard: 0, offset: 0, bytes: 6 },
			{ name: "b", dtype: "F32", shape: [2, 1], shard: 0, offset: 8, bytes: 8 },
		],
		shards: [{ file: "shard-000.bin", bytes: 16, sha256 }],
	};
}
const ENCODER = { width: 128, layers: 1, vocabulary: 8, maxTokens: 4, normEps: 1e-6 };
const T5 = { kind: "t5", ...ENCODER, heads: 2, headDim: 8, ffn: 16, buckets: 8, distance: 16 };
const QWEN2 = { kind: "qwen2", ...ENCODER, heads: 32, ffn: 16, kvHeads: 1, ropeTheta: 1e4, padId: 0, padSide: "left" };

/** As a folder is opened: the manifest, then what its family says of it. */
const read = (text: string) => modelOf(parseManifest(text));
function broken(edit: (manifest: any) => void): string {
	const manifest = sound();
	edit(manifest);
	return JSON.stringify(manifest);
}

describe("manifests of other families", () => {
	const config = { ...publishedVar(16), scales: 2, tokens: 5 };
	const manifest = (edit: (manifest: any) => void = () => {}): string => {
		const made: any = {
			...sound(),
			family: "var",
			config: structuredClone(config),
			schedules: {
				"1:1": {
					grids: [
						[1, 1],
						[2, 2],
					],
					image: { height: 32, width: 32 },
				},
			},
		};
		edit(made);
		return JSON.stringify(made);
	};

	it("say what the model draws", async () => {
		const info = modelInfo(read(manifest()), await manifestDigest(new TextEncoder().encode("x")));
		expect(ModelInfo.parse(info)).toEqual(info);
		expect(info).toMatchObject({ family: "var", classes: 1000, bitsPerToken: 12, maxPromptTokens: 0, blocks: 16 });
		expect(info.chunks.slice(0, 2)).toEqual([
			[0, 1],
			[1, 2],
		]);
	});

	it.each<[string, (manifest: any) => void, RegExp]>([
		["another family's configuration", (m) => (m.config = structuredClone(SMALL)), /config/],
		["an unknown family", (m) => (m.family = "dalle"), /family/],
		[
			"another number of tokens",
			(m) => (m.config.tokens = 6),
			/2 scales of 5 tokens; the model's positions are for 2 of 6/,
		],
		[
			"schedules of other tokens by scale",
			(m) =>
				(m.schedules.b = {
					grids: [
						[2, 2],
						[1, 1],
					],
					image: { height: 16, width: 16 },
				}),
			/schedule b has other tokens by scale/,
		],
		["a vocabulary of one code", (m) => (m.config.codebook.vocabulary = 1), /vocabulary/],
		["a first scale of other tokens", (m) => (m.config.startTokens = 4), /begins with 1 tokens.*first scale has 4/],
		["groups that do not fit", (m) => (m.config.vae.baseChannels = 100), /normGroups 32/],
	])("refuse %s", (_, edit, message) => {
		expect(() => read(manifest(edit))).toThrow(message);
	});
});

describe("parseManifest", () => {
	it("reads what manifestText writes", () => {
		expect(parseManifest(manifestText(sound()))).toEqual(sound());
	});

	it.each<[string, string, RegExp]>([
		["broken JSON", "{", /not JSON/],
		["another format", broken((m) => (m.version = 2)), /version/],
		["an unknown field", broken((m) => (m.extra = 1)), /extra/],
		["a path for a file", broken((m) => (m.shards[0].file = "../shard.bin")), /plain file name/],
		["an absolute path", broken((m) => (m.shards[0].file = "/etc/passwd")), /plain file name/],
		["a hidden file", broken((m) => (m.shards[0].file = "..")), /plain file name/],
		["a shard named like the manifest", broken((m) => (m.shards[0].file = "manifest.json")), /named twice/],
		["a shape that is not its bytes", broken((m) => (m.tensors[0].bytes = 8)), /tensor a: F16 \[3\] is 6 bytes, not 8/],
		[
			"a shape that overflows",
			broken((m) => (m.tensors[0].shape = [2 ** 40, 2 ** 40])),
			/tensor a: shape .* overflows/,
		],
		["a side of zero", broken((m) => (m.tensors[0].shape = [0])), /tensors\[0\]\.shape/],
		[
			"a tensor past its shard",
			broken((m) => (m.shards[0].bytes = 12)),
			/tensor b: bytes 8 to 16 leave shard shard-000.bin of 12/,
		],
		["an offset past every number", broken((m) => (m.tensors[1].offset = 2 ** 53 - 4)), /tensor b/],
		["a shard that is not there", broken((m) => (m.tensors[1].shard = 1)), /no shard 1, only 1/],
		["overlapping tensors", broken((m) => (m.tensors[1].offset = 4)), /tensors a and b overlap/],
		["an unaligned tensor", broken((m) => (m.tensors[1].offset = 6)), /offset 6 is not a multiple of 4/],
		["a name twice", broken((m) => (m.tensors[1].name = "a")), /tensor a stands twice/],
		["an oversized shard", broken((m) => (m.shards[0].bytes = 2 ** 31)), /shards\[0\]\.bytes/],
		["an unknown default schedule", broken((m) => (m.defaultSchedule = "2:1")), /2:1 is not one of 1:1/],
		[
			"a size that is not the decoder's",
			broken((m) => (m.schedules["1:1"].image.width = 8)),
			/decodes to 4x4 pixels, not 4x8/,
		],
		["a schedule without rotary reach", broken((m) => (m.config.ropeReach = {})), /has no ropeReach/],
		[
			"chunks that do not fit",
			broken((m) => (m.config.depth = 3) && (m.config.chunkBlocks = 2)),
			/depth 3 is not a multiple of chunkBlocks 2/,
		],
		["heads that do not fit", broken((m) => (m.config.heads = 3)), /width 8 over 3 heads/],
		["more blocks than any plan names", broken((m) => (m.config.depth = 2 ** 20)), /at config\.depth/],
		["more decoder blocks", broken((m) => (m.config.vae.residualBlocks = 2 ** 20)), /at config\.vae\.residualBlocks/],
		["more layers of text", broken((m) => (m.config.textEncoder = { ...T5, layers: 257 })), /textEncoder\.layers/],
		[
			"pooling heads that no kernel reads",
			broken((m) => (m.config.poolHeads = 4)),
			/width 8 over the 4 heads that pool/,
		],
		[
			"heads of text that no kernel reads",
			broken((m) => (m.config.textEncoder = { ...T5, headDim: 6 })),
			/text encoder head size 6 is not a multiple of 4/,
		],
		[
			"heads of text that no kernel turns",
			broken((m) => (m.config.textEncoder = QWEN2)),
			/text encoder head size 4 is not a multiple of 8/,
		],
		[
			"a feed-forward of text that no kernel reads",
			broken((m) => (m.config.textEncoder = { ...T5, ffn: 18 })),
			/text encoder ffn 18 is not a multiple of 4/,
		],
		["groups that do not fit", broken((m) => (m.config.vae.normGroups = 3)), /normGroups 3/],
	])("refuses %s", (_, text, message) => {
		expect(() => read(text)).toThrow(message);
		expect(() => read(text)).toThrow(ModelFormatError);
	});
});

it("tensorBytes gives up where numbers are no longer exact", () => {
	expect(tensorBytes("F16", [])).toBe(2);
	expect(tensorBytes("F32", [3, 5])).toBe(60);
	expect(tensorBytes("F32", [2 ** 51])).toBeNull();
});

it("modelInfo is what the protocol asks for", async () => {
	const info = modelInfo(modelOf(sound()), await manifestDigest(new TextEncoder().encode("x")));
	expect(ModelInfo.parse(info)).toEqual(info);
	expect(info).toMatchObject({
		id: "small",
		blocks: 2,
		chunks: [
			[0, 1],
			[1, 2],
		],
		bitsPerToken: 3,
		maxPromptTokens: 4,
	});
	expect(info.digest).toBe("sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881");
});
