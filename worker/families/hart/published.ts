/**
 * The published HART checkpoint (mit-han-lab/hart), as data: its `llm` and its `tokenizer` are the two parts. It takes
 * Qwen2-1.5B's states.
 */

import type { z } from "zod";
import type { Sampling, Schedule } from "../../protocol/model-info.ts";
import type { Published } from "../checkpoints.ts";
import { publishedSize, square, TOKENIZER } from "../shared/published.ts";
import type { HartConfig } from "./config.ts";

/** What the official code has the text model read before every prompt, word for word. */
const INSTRUCTIONS = [
	'Given a user prompt, generate an "Enhanced prompt" that provides detailed visual descriptions suitable for image ' +
		"generation.",
	"",
	"Examples:",
	"- User Prompt: A cat sleeping -> A small, fluffy white cat curled up in a round shape, sleeping peacefully on a " +
		"warm sunny windowsill, surrounded by pots of blooming red flowers.",
	"- User Prompt: A busy city street -> A bustling city street scene at dusk, featuring glowing street lamps, a " +
		"diverse crowd of people in colorful clothing, and a double-decker bus passing by towering glass skyscrapers.",
	"",
	"Please generate only the enhanced description for the prompt below and DO NOT include any additional sentences. " +
		'Start your response with "Enhanced Prompt:".',
	"",
	"User Prompt:",
	"",
].join("\n");

/** 732 million parameters, as the paper counts them, 37 million of them in the residual diffusion. */
const CONFIG: HartConfig = {
	depth: 24,
	width: 1536,
	heads: 24,
	ffn: 4096,
	textChannels: 1536,
	textMaxTokens: 300,
	normEps: 1e-6,
	normalised: true,
	ropeTheta: 10_000,
	residual: { width: 1024, depth: 6, steps: 8 },
	...TOKENIZER,
	textEncoder: null,
	instructions: INSTRUCTIONS,
};
/** The official code takes no others. */
const SAMPLING: z.infer<typeof Sampling> = {
	guidance: [1, 5.5],
	heldScales: 1,
	tau: 1,
	topK: [
		[0, 600],
		[7, 300],
	],
	topP: 0,
};

const SIZES = { "0.7b": CONFIG } as const;

export const publishedHart = (
	size: keyof typeof SIZES,
): {
	name: string;
	config: HartConfig;
	schedules: Record<string, Schedule>;
	sampling: z.infer<typeof Sampling>;
} => ({ name: `hart-${size}`, config: SIZES[size], schedules: square(1024), sampling: SAMPLING });

export const published: Published<HartConfig> = {
	sizes: Object.keys(SIZES),
	describe(size) {
		publishedSize("HART", SIZES, size);
		const licence = "MIT (mit-han-lab/hart)";
		return { head: { ...publishedHart("0.7b"), family: "hart", defaultSchedule: "1:1", licence } };
	},
};
