import type { Shapes } from "../../kernels/index.ts";
import { halves } from "../../model-shards/format/layout.ts";
import type { Manifest } from "../../model-shards/format/manifest.ts";
import type { Dtype } from "../families/shared/weights.ts";
import { anatomyOf } from "../families/text/anatomy.ts";
import { TEXT_PREFIX } from "../families/text/tensors.ts";
import { ROWS } from "./round/kv-plan.ts";

type Mutable<T> = { -readonly [K in keyof T]-?: NonNullable<T[K]> extends readonly (infer E)[] ? E[] : never };

/** Tokens of usual prompts; the longest that the model takes comes beside them. */
const TEXT_TOKENS = [64, 32, 16, 8];

/** Modules that multiply, official names without the prefix, by what they run over. */
interface Modules {
	/** Tokens of both guidance rows. */
	tokens: string[];
	/** Cells of a scale, once for both rows. */
	cells: string[];
	/** Tokens of both texts. */
	text: string[];
	/** One vector of each row. */
	rows: string[];
	/** Others, by how many rows they run over. */
	others: [rows: number, modules: string[]][];
}

/**
 * The shapes of the heavy operators in pictures of every schedule with both guidance rows: what kernels are tuned and
 * measured at. Largest first, since the first of a shape class speaks for it. `dtype`: of the weights.
 */
export function kernelShapes(manifest: Manifest, dtype: Dtype = "f32"): Shapes {
	const { config, schedules } = manifest;
	const shapes: Mutable<Shapes> = { matmul: [], conv: [], attention: [], sequenceAttention: [] };
	const tensors = new Map(manifest.tensors.map((tensor) => [tensor.name, tensor]));
	/** x [m, k] times a module's weight. */
	const multiply = (module: string, m: number) => {
		const name = `${module}.weight`;
		const tensor = tensors.get(name);
		if (!tensor) throw new RangeError(`The model has no tensor ${name}. Import it again from its checkpoint.`);
		const [n, k] = tensor.shape;
		const half = dtype === "f16" && !tensor.quantization && halves(name, tensor.shape);
		shapes.matmul.push({ m, k, n: Math.ceil(n / 4) * 4, half });
	};

	const { width, heads } = config;
	const headDim = width / heads;
	const textKeys = "textMaxTokens" in config ? textCounts(config.textMaxTokens) : [];
	const scales = scalesOf(manifest);
	const modules = modulesOf(manifest);
	const transformer = (names: readonly string[], m: number) => {
		for (const name of names) multiply(`transformer.${name}`, m);
	};
	for (const { tokens, keys } of scales) {
		transformer(modules.tokens, ROWS * tokens);
		transformer(modules.cells, tokens);
		shapes.attention.push({ rows: ROWS, tokens, keys, heads, headDim, own: true });
		if (modules.text.length > 0)
			shapes.attention.push({ rows: ROWS, tokens, keys: textKeys[0], heads, headDim, own: false });
	}
	for (const tokens of textKeys) transformer(modules.text, ROWS * tokens);
	transformer(modules.rows, ROWS);
	for (const [rows, names] of modules.others) transformer(names, rows);
	if ("poolHeads" in config)
		shapes.attention.push({
			rows: ROWS,
			tokens: 1,
			keys: textKeys[0],
			heads: config.poolHeads,
			headDim: width / config.poolHeads,
			own: false,
		});
	if ("textEncoder" in config && config.textEncoder) {
		const encoder = config.textEncoder;
		const { headDim, kvHeads, causal, layer } = anatomyOf(encoder);
		const { qkv, out, up, gate, down } = layer(0);
		// CLIP reads the empty text too, for the unconditional row: two markers.
		const fixed = encoder.kind === "clip-text" ? 2 : config.textMaxTokens;
		for (const tokens of textCounts(encoder.maxTokens, fixed)) {
			for (const name of [...qkv, out, ...(gate ? [gate] : []), up, down]) multiply(TEXT_PREFIX + name, tokens);
			shapes.sequenceAttention.push({ tokens, heads: encoder.heads, kvHeads, headDim, causal });
		}
	}

	const { channels, attentive, conv } =
		"bits" in config
			? { channels: Math.ceil(config.bits / 4) * 4, attentive: false, conv: (module: string) => `${module}.conv` }
			: { channels: config.codebook.channels, attentive: true, conv: (module: string) => module };
	const widths = config.vae.multipliers.map((multiplier) => multiplier * config.vae.baseChannels);
	const last = widths.length - 1;
	const patch = "bits" in config ? (config.patchify ?? 1) : 1;
	for (const [height, side] of largestGrids(schedules)) {
		const at = (level: number) => {
			const scale = patch * 2 ** (last - level);
			return { height: height * scale, width: side * scale };
		};
		shapes.conv.push({ ...at(0), inChannels: widths[0], outChannels: 4 });
		for (let level = 0; level < widths.length; level++) {
			const image = at(level);
			const outChannels = widths[level];
			shapes.conv.push({ ...image, inChannels: outChannels, outChannels });
			if (level === last) break;
			const inChannels = widths[level + 1];
			shapes.conv.push(
				{ ...image, inChannels, outChannels },
				{ ...image, inChannels, outChannels: inChannels, upsample: true },
			);
			if (inChannels !== outChannels)
				multiply(conv(`vae.decoder.up.${level}.block.0.nin_shortcut`), image.height * image.width);
		}
		const latent = at(last);
		shapes.conv.push({ ...latent, inChannels: channels, outChannels: widths[last] });
		if (!attentive) continue;
		shapes.conv.push({ ...latent, inChannels: channels, outChannels: channels });
		for (const name of ["qkv", "proj_out"]) multiply(`vae.decoder.mid.attn_1.${name}`, latent.height * latent.width);
	}
	return shapes;
}

/** Usual token counts of a text up to the longest, which is among them, and one that a model always has. */
const textCounts = (longest: number, fixed = longest): number[] =>
	[...new Set([longest, fixed, ...TEXT_TOKENS])].filter((tokens) => tokens <= longest).sort((a, b) => b - a);

/** Tokens of every scale of every schedule, each with the most keys that it sees. */
function scalesOf({ config, schedules }: Manifest): { tokens: number; keys: number }[] {
	const start = "residual" in config ? config.textMaxTokens : undefined;
	const most = new Map<number, number>();
	for (const { grids } of Object.values(schedules)) {
		let keys = 0;
		for (const [scale, [height, width]] of grids.entries()) {
			const tokens = scale === 0 && start ? start : height * width;
			keys += tokens;
			most.set(tokens, Math.max(keys, most.get(tokens) ?? 0));
		}
	}
	return [...most].map(([tokens, keys]) => ({ tokens, keys })).sort((a, b) => b.tokens - a.tokens);
}

/** The last grids of all schedules, each size once. */
function largestGrids(schedules: Manifest["schedules"]): [height: number, width: number][] {
	const grids = Object.values(schedules).map(({ grids }) => grids[grids.length - 1]);
	const sizes = new Map(grids.map(([height, width]) => [height * width, [height, width] as [number, number]]));
	return [...sizes.values()].sort(([a, b], [c, d]) => c * d - a * b);
}

function modulesOf({ family, config, schedules }: Manifest): Modules {
	const within = (block: string, ...names: string[]) => names.map((name) => `${block}.${name}`);
	const cells = ["word_embed"];
	switch (family) {
		case "infinity": {
			const block = "block_chunks.0.module.0";
			const names = ["sa.mat_qkv", "sa.proj", "ca.mat_q", "ca.proj", "ffn.fc1", "ffn.fc2"];
			return {
				tokens: [...within(block, ...names), "head"],
				cells,
				text: ["text_proj_for_sos.ca.mat_kv", "text_proj_for_ca.0", "text_proj_for_ca.2", `${block}.ca.mat_kv`],
				rows: ["text_proj_for_sos.ca.proj", "shared_ada_lin.1", "head_nm.ada_lin.1"],
				others: [],
			};
		}
		case "var":
			return {
				tokens: [...within("blocks.0", "attn.mat_qkv", "attn.proj", "ffn.fc1", "ffn.fc2"), "head"],
				cells,
				text: [],
				rows: [config.adaln === "shared" ? "shared_ada_lin.1" : "blocks.0.ada_lin.1", "head_nm.ada_lin.1"],
				others: [],
			};
		case "star": {
			const names = ["attn.mat_qkv", "attn.proj", "cross_attn.mat_q", "cross_attn.proj", "ffn.fc1", "ffn.fc2"];
			return {
				tokens: [...within("blocks.0", ...names), "head_logits"],
				cells,
				text: ["blocks.0.cross_attn.mat_kv"],
				rows: ["encoder_proj"],
				others: [],
			};
		}
		case "hart": {
			const names = ["attn.qkv_proj", "attn.proj", "ffn.gate_proj", "ffn.up_proj", "ffn.down_proj"];
			const net = (...modules: string[]) => within("diffloss.net", ...modules);
			const network = net(
				"cond_embed",
				"input_proj",
				...within("res_blocks.0", "adaLN_modulation.1", "mlp.0", "mlp.2"),
				"final_layer.adaLN_modulation.1",
				"final_layer.linear",
			);
			const scales = Math.max(...Object.values(schedules).map(({ grids }) => grids.length));
			return {
				tokens: [...within("blocks.0", ...names), "head"],
				cells,
				text: [],
				rows: ["head_nm.ada_lin.1", "head"],
				others: [
					...largestGrids(schedules).map(([height, width]): [number, string[]] => [ROWS * height * width, network]),
					[ROWS * config.textMaxTokens, ["context_embed"]],
					[scales, ["lvl_embed.mlp.0", "lvl_embed.mlp.2"]],
					[config.residual.steps, net("time_embed.mlp.0", "time_embed.mlp.2")],
				],
			};
		}
	}
}
