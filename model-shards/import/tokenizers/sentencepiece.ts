/**
 * SentencePiece's `.model` files (sentencepiece_model.proto), as T5 has them, to the `tokenizer.json` that stands for
 * them.
 */
import protobuf from "protobufjs/light.js";
import { z } from "zod";
import { ModelFormatError } from "../../format/errors.ts";
import { formed } from "../../format/json.ts";

const field = (type: string, id: number, more: object = {}) => ({ type, id, ...more });
const root = protobuf.Root.fromJSON({
	nested: {
		Model: {
			fields: {
				pieces: field("Piece", 1, { rule: "repeated" }),
				trainer: field("Trainer", 2),
				normalizer: field("Normalizer", 3),
			},
		},
		Piece: {
			fields: {
				piece: field("string", 1),
				score: field("float", 2),
				type: field("int32", 3, { options: { default: 1 } }),
			},
		},
		Trainer: {
			fields: {
				modelType: field("int32", 3, { options: { default: 1 } }),
				byteFallback: field("bool", 35),
				unkId: field("int32", 40),
			},
		},
		Normalizer: {
			fields: {
				charsmap: field("bytes", 2),
				addPrefix: field("bool", 3, { options: { default: true } }),
				removeExtra: field("bool", 4, { options: { default: true } }),
			},
		},
	},
});

const UNIGRAM = 1;
/** Types of pieces: 2 unknown, 3 control. */
const isMarker = (type: number) => type === 2 || type === 3;
const Model = z.object({
	pieces: z
		.array(z.object({ piece: z.string().min(1), score: z.number(), type: z.int() }))
		.min(1)
		.max(1 << 20),
	trainer: z.object({
		modelType: z.literal(UNIGRAM, { error: "only unigram models are supported" }),
		byteFallback: z.literal(false, { error: "byte fallback is not supported" }),
		unkId: z.int().min(0),
	}),
	normalizer: z.object({
		charsmap: z.instanceof(Uint8Array),
		addPrefix: z.literal(true),
		removeExtra: z.literal(true),
	}),
});
/** Sentinels that T5 has behind the pieces of its file, the last one first. */
const SENTINELS = Array.from({ length: 100 }, (_, i) => `<extra_id_${99 - i}>`);
const END = "</s>";

/** `where` names the file in errors. Throws ModelFormatError for other kinds of models. */
export function t5Tokenizer(bytes: Uint8Array, where: string): object {
	const {
		pieces,
		trainer: { unkId },
		normalizer: { charsmap },
	} = parse(bytes, where);
	const vocab: [string, number][] = [
		...pieces.map(({ piece, score }): [string, number] => [piece, score]),
		...SENTINELS.map((piece): [string, number] => [piece, 0]),
	];
	const markers = [...pieces.entries()].flatMap(([id, { piece, type }]) =>
		isMarker(type) ? [{ id, content: piece }] : [],
	);
	const end = markers.find(({ content }) => content === END);
	if (!end) throw new ModelFormatError(`${where} has no ${END}, so it is not T5's.`);
	const added = [...markers, ...SENTINELS.map((content, i) => ({ id: pieces.length + i, content }))];
	return {
		version: "1.0",
		truncation: null,
		padding: null,
		added_tokens: added.map((token) => ({
			...token,
			single_word: false,
			lstrip: false,
			rstrip: false,
			normalized: false,
			special: true,
		})),
		normalizer: {
			type: "Sequence",
			normalizers: [
				{ type: "Precompiled", precompiled_charsmap: Buffer.from(charsmap).toString("base64") },
				{ type: "Strip", strip_left: false, strip_right: true },
				{ type: "Replace", pattern: { Regex: " {2,}" }, content: "▁" },
			],
		},
		pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
		post_processor: {
			type: "TemplateProcessing",
			single: [{ Sequence: { id: "A", type_id: 0 } }, { SpecialToken: { id: END, type_id: 0 } }],
			pair: [
				{ Sequence: { id: "A", type_id: 0 } },
				{ SpecialToken: { id: END, type_id: 0 } },
				{ Sequence: { id: "B", type_id: 0 } },
				{ SpecialToken: { id: END, type_id: 0 } },
			],
			special_tokens: { [END]: { id: END, ids: [end.id], tokens: [END] } },
		},
		decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
		model: { type: "Unigram", unk_id: unkId, vocab, byte_fallback: false },
	};
}

function parse(bytes: Uint8Array, where: string): z.infer<typeof Model> {
	const type = root.lookupType("Model");
	let message: object;
	try {
		message = type.toObject(type.decode(bytes), { defaults: true });
	} catch (error) {
		throw new ModelFormatError(`${where} is not a SentencePiece model: ${(error as Error).message}`);
	}
	return formed(Model, message, `${where} is not a SentencePiece model that this version reads`);
}
