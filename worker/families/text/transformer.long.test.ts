/** One layer of the published text encoders at few tokens, random weights, against f64. */
import { expect, it } from "vitest";
import { sharedGpu } from "../../../kernels/gpu/native/testing.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import { maxError, randomFloats } from "../../../kernels/testing.ts";
import { Weights } from "../shared/weights.ts";
import { PUBLISHED_TEXT, type TextEncoderConfig } from "./config.ts";
import { TEXT_PREFIX, textTensors } from "./tensors.ts";
import { TextTransformer } from "./transformer.ts";

const gpu = await sharedGpu();

const IDS = [3, 1, 4, 1, 5, 7];
const count = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

/** Embeddings of unit size, matrices that keep the size of what they multiply, scales near 1, small biases. */
function randomWeights(config: TextEncoderConfig): Map<string, { shape: number[]; data: Float32Array<ArrayBuffer> }> {
	const noise = randomFloats(1 << 18, config.width);
	let from = 0;
	return new Map(
		textTensors(config).map(({ name, shape }) => {
			const data = new Float32Array(count(shape));
			const size = /embed|shared|attention_bias/.test(name) ? 1.7 : shape.length === 2 ? (3 / shape[1]) ** 0.5 : 0.1;
			for (let at = 0; at < data.length; from = (from + 977) % 4096) {
				const part = noise.subarray(from, from + data.length - at);
				for (let i = 0; i < part.length; i++)
					data[at + i] = part[i] * size + (shape.length === 1 && name.endsWith(".weight") ? 1 : 0);
				at += part.length;
			}
			return [name.slice(TEXT_PREFIX.length), { shape, data }];
		}),
	);
}

type Vector = Float64Array;
type W = (name: string) => Float32Array;

function linear(w: W, name: string, x: Vector, biased: boolean): Vector {
	const matrix = w(`${name}.weight`);
	const bias = biased ? w(`${name}.bias`) : undefined;
	return Float64Array.from({ length: matrix.length / x.length }, (_, o) => {
		let sum = bias?.[o] ?? 0;
		for (let i = 0; i < x.length; i++) sum += matrix[o * x.length + i] * x[i];
		return sum;
	});
}
const rms = (w: W, name: string, x: Vector): Vector => {
	const r = 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length + 1e-6);
	return x.map((v, i) => v * r * w(`${name}.weight`)[i]);
};
const layerNorm = (w: W, name: string, x: Vector): Vector => {
	const mean = x.reduce((sum, v) => sum + v, 0) / x.length;
	const r = 1 / Math.sqrt(x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length + 1e-5);
	return x.map((v, i) => (v - mean) * r * w(`${name}.weight`)[i] + w(`${name}.bias`)[i]);
};
const plus = (a: Vector, b: Vector): Vector => a.map((v, i) => v + b[i]);
const embedded = (table: Float32Array, id: number, width: number): Vector =>
	Float64Array.from(table.subarray(id * width, (id + 1) * width));

/** softmax(scale q k + bias) v of every token by head; `last` is the last key that a token sees. */
function attended(
	q: Vector[],
	k: Vector[],
	v: Vector[],
	heads: number,
	d: number,
	scale: number,
	last: (t: number) => number,
	bias: (head: number, t: number, key: number) => number,
): Vector[] {
	const shared = heads / (k[0].length / d);
	return q.map((query, t) => {
		const out = new Float64Array(heads * d);
		for (let head = 0; head < heads; head++) {
			const at = Math.floor(head / shared) * d;
			const scores = k.slice(0, last(t) + 1).map((key, i) => {
				let dot = 0;
				for (let c = 0; c < d; c++) dot += query[head * d + c] * key[at + c];
				return dot * scale + bias(head, t, i);
			});
			const top = Math.max(...scores);
			const total = scores.reduce((sum, score) => sum + Math.exp(score - top), 0);
			scores.forEach((score, i) => {
				for (let c = 0; c < d; c++) out[head * d + c] += (Math.exp(score - top) / total) * v[i][at + c];
			});
		}
		return out;
	});
}

const everything = () => IDS.length - 1;
const itself = (t: number) => t;
const LAYERS: Record<string, (w: W, config: never) => Vector[]> = {
	t5(w, { width, heads, headDim }: { width: number; heads: number; headDim: number }) {
		const s = (name: string) => `encoder.block.0.layer.${name}`;
		const x = IDS.map((id) => embedded(w("shared.weight"), id, width));
		const h = x.map((v) => rms(w, s("0.layer_norm"), v));
		const [q, k, v] = ["q", "k", "v"].map((name) =>
			h.map((token) => linear(w, s(`0.SelfAttention.${name}`), token, false)),
		);
		const table = w(s("0.SelfAttention.relative_attention_bias.weight"));
		// So near to each other every distance has a bucket of its own.
		const all = attended(
			q,
			k,
			v,
			heads,
			headDim,
			1,
			everything,
			(head, t, key) => table[((key > t ? 16 : 0) + Math.abs(key - t)) * heads + head],
		);
		return x.map((token, t) => {
			const middle = plus(token, linear(w, s("0.SelfAttention.o"), all[t], false));
			const inner = rms(w, s("1.layer_norm"), middle);
			const up = linear(w, s("1.DenseReluDense.wi_1"), inner, false);
			const gate = linear(w, s("1.DenseReluDense.wi_0"), inner, false).map(
				(g, i) => 0.5 * g * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (g + 0.044715 * g ** 3))) * up[i],
			);
			return rms(w, "encoder.final_layer_norm", plus(middle, linear(w, s("1.DenseReluDense.wo"), gate, false)));
		});
	},
	"clip-text"(w, { width, heads }: { width: number; heads: number }) {
		const s = (name: string) => `text_model.encoder.layers.0.${name}`;
		const x = IDS.map((id, t) =>
			plus(
				embedded(w("text_model.embeddings.token_embedding.weight"), id, width),
				embedded(w("text_model.embeddings.position_embedding.weight"), t, width),
			),
		);
		const h = x.map((v) => layerNorm(w, s("layer_norm1"), v));
		const [q, k, v] = ["q", "k", "v"].map((name) =>
			h.map((token) => linear(w, s(`self_attn.${name}_proj`), token, true)),
		);
		const all = attended(q, k, v, heads, width / heads, (width / heads) ** -0.5, itself, () => 0);
		return x.map((token, t) => {
			const middle = plus(token, linear(w, s("self_attn.out_proj"), all[t], true));
			const inner = linear(w, s("mlp.fc1"), layerNorm(w, s("layer_norm2"), middle), true).map(
				(g) => g / (1 + Math.exp(-1.702 * g)),
			);
			return layerNorm(w, "text_model.final_layer_norm", plus(middle, linear(w, s("mlp.fc2"), inner, true)));
		});
	},
	qwen2(w, { width, heads }: { width: number; heads: number }) {
		const d = width / heads;
		const s = (name: string) => `layers.0.${name}`;
		const rotated = (x: Vector, t: number): Vector =>
			x.map((v, i) => {
				const channel = i % d;
				const angle = t * 1e6 ** ((-2 * (channel % (d / 2))) / d);
				return channel < d / 2
					? v * Math.cos(angle) - x[i + d / 2] * Math.sin(angle)
					: v * Math.cos(angle) + x[i - d / 2] * Math.sin(angle);
			});
		const x = IDS.map((id) => embedded(w("embed_tokens.weight"), id, width));
		const h = x.map((v) => rms(w, s("input_layernorm"), v));
		const [q, k, v] = ["q", "k", "v"].map((name) =>
			h.map((token) => linear(w, s(`self_attn.${name}_proj`), token, true)),
		);
		const all = attended(q.map(rotated), k.map(rotated), v, heads, d, d ** -0.5, itself, () => 0);
		return x.map((token, t) => {
			const middle = plus(token, linear(w, s("self_attn.o_proj"), all[t], false));
			const inner = rms(w, s("post_attention_layernorm"), middle);
			const up = linear(w, s("mlp.up_proj"), inner, false);
			const gate = linear(w, s("mlp.gate_proj"), inner, false).map((g, i) => (g / (1 + Math.exp(-g))) * up[i]);
			return rms(w, "norm", plus(middle, linear(w, s("mlp.down_proj"), gate, false)));
		});
	},
};

it.each([
	"google/flan-t5-xl",
	"openai/clip-vit-large-patch14",
	"stabilityai/stable-diffusion-2-1",
	"Qwen/Qwen2-VL-2B-Instruct",
] as const)("a layer of %s", async (name) => {
	// The two CLIPs differ in width; that with the other activation takes this one.
	const config: TextEncoderConfig = {
		...PUBLISHED_TEXT[name],
		layers: 1,
		vocabulary: 8,
		...(name.startsWith("stabilityai") && { activation: "quick-gelu" as const }),
	};
	const random = randomWeights(config);
	async function* tensors() {
		for (const [own, { shape, data }] of random)
			yield { name: TEXT_PREFIX + own, dtype: "F32" as const, shape, bytes: new Uint8Array(data.buffer) };
	}
	const weights = await Weights.load(gpu, { manifest: { tensors: [] }, wanted: textTensors(config), tensors });
	using scope = new Scope(gpu);
	const encoder = new TextTransformer(gpu, scope, config, weights);
	const features = scope.tensor("features", [IDS.length, config.width]);
	try {
		const pass = gpu.pass("encode");
		encoder.record(pass, IDS, features);
		const [data] = await pass.submit([features]);
		const expected = LAYERS[config.kind](
			(own) => (random.get(own) as { data: Float32Array }).data,
			config as never,
		).flatMap((token) => [...token]);
		expect(Math.max(...expected)).toBeGreaterThan(1);
		expect(maxError(new Float32Array(data), expected)).toBeLessThan(1e-4);
	} finally {
		weights.destroy();
	}
});
