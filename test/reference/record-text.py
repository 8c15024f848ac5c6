"""Records tiny text encoders: the published definitions of T5 v1.1 (arXiv 1910.10683, 2210.11416), CLIP's text side (arXiv 2103.00020) and
Qwen2 (arXiv 2407.10671) in PyTorch, in f64, with the official names. Texts are padded and masked as the published pipelines do.

    python3 record.py OUT
"""
import json
import math
import os
import struct
import sys

import torch

torch.manual_seed(20250901)
torch.set_default_dtype(torch.float64)
F32, NAMES = torch.float32, {torch.float32: "F32", torch.int32: "I32", torch.int64: "I64"}


def save(path, tensors):
    header, at = {}, 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.contiguous().numpy().tobytes())


def weights(shapes):
    """Embeddings and scales of unit size, matrices that keep the size of what they multiply; rounded to f32 before they are used."""
    made = {}
    for name, shape in shapes.items():
        noise = torch.randn(*shape)
        if name.endswith(".bias"): noise *= 0.1
        elif len(shape) == 1: noise = 1 + 0.1 * noise
        elif not name.endswith(("shared.weight", "embedding.weight", "embed_tokens.weight", "attention_bias.weight")): noise *= 1.4 * shape[1] ** -0.5
        made[name] = noise.to(F32)
    return made


class Run:
    def __init__(self, tensors): self.w = {name: tensor.double() for name, tensor in tensors.items()}
    def linear(self, name, x): return x @ self.w[name + ".weight"].T + self.w.get(name + ".bias", 0)
    def rms(self, name, x, eps): return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * self.w[name + ".weight"]
    def layer_norm(self, name, x, eps): return torch.nn.functional.layer_norm(x, x.shape[-1:], self.w[name + ".weight"], self.w[name + ".bias"], eps)


def heads(x, n): return x.view(x.shape[0], n, -1).transpose(0, 1)
def attend(q, k, v, scale, bias): return torch.softmax(q @ k.transpose(1, 2) * scale + bias, -1).matmul(v).transpose(0, 1).reshape(q.shape[1], -1)
def masked(mask): return torch.where(mask, 0.0, -math.inf)


# T5: relative positions in buckets, RMS norms, gated GELU, no scale of the scores.
T5 = dict(d_model=32, num_heads=3, d_kv=8, num_layers=2, d_ff=40, vocab_size=64, relative_attention_num_buckets=32, relative_attention_max_distance=128)


def bucket(relative, buckets, distance):
    buckets //= 2
    found = (relative > 0).long() * buckets
    far = relative.abs()
    exact = buckets // 2
    large = exact + (torch.log(far.to(F32) / exact) / math.log(distance / exact) * (buckets - exact)).long()
    return found + torch.where(far < exact, far, torch.minimum(large, torch.full_like(large, buckets - 1)))


def t5_shapes(c):
    inner = c["num_heads"] * c["d_kv"]
    shapes = {"shared.weight": (c["vocab_size"], c["d_model"]), "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (32, c["num_heads"])}
    for i in range(c["num_layers"]):
        layer = f"encoder.block.{i}.layer."
        for name in "qkv": shapes[f"{layer}0.SelfAttention.{name}.weight"] = (inner, c["d_model"])
        shapes |= {layer + "0.SelfAttention.o.weight": (c["d_model"], inner), layer + "0.layer_norm.weight": (c["d_model"],), layer + "1.layer_norm.weight": (c["d_model"],)}
        shapes |= {layer + "1.DenseReluDense.wi_0.weight": (c["d_ff"], c["d_model"]), layer + "1.DenseReluDense.wi_1.weight": (c["d_ff"], c["d_model"]), layer + "1.DenseReluDense.wo.weight": (c["d_model"], c["d_ff"])}
    return shapes | {"encoder.final_layer_norm.weight": (c["d_model"],)}


def t5(run, c, ids, mask):
    x, eps = run.w["shared.weight"][ids], 1e-6
    place = torch.arange(len(ids))
    table = run.w["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    bias = table[bucket(place[None] - place[:, None], 32, 128)].permute(2, 0, 1) + masked(mask[None, None])
    for i in range(c["num_layers"]):
        layer = f"encoder.block.{i}.layer."
        h = run.rms(layer + "0.layer_norm", x, eps)
        q, k, v = (heads(run.linear(f"{layer}0.SelfAttention.{name}", h), c["num_heads"]) for name in "qkv")
        x = x + run.linear(layer + "0.SelfAttention.o", attend(q, k, v, 1, bias))
        h = run.rms(layer + "1.layer_norm", x, eps)
        gate = run.linear(layer + "1.DenseReluDense.wi_0", h)
        gate = 0.5 * gate * (1 + torch.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate ** 3)))
        x = x + run.linear(layer + "1.DenseReluDense.wo", gate * run.linear(layer + "1.DenseReluDense.wi_1", h))
    return run.rms("encoder.final_layer_norm", x, eps)


# CLIP: learned positions, causal, layer norms; the state of the first end marker stands for the text.
CLIP = dict(hidden_size=32, num_attention_heads=2, num_hidden_layers=2, intermediate_size=64, vocab_size=60, max_position_embeddings=77, layer_norm_eps=1e-5)


def clip_shapes(c):
    width, shapes = c["hidden_size"], {}
    both = lambda name, *shape: {name + ".weight": shape, name + ".bias": shape[:1]}
    shapes |= {"text_model.embeddings.token_embedding.weight": (c["vocab_size"], width), "text_model.embeddings.position_embedding.weight": (77, width)}
    for i in range(c["num_hidden_layers"]):
        layer = f"text_model.encoder.layers.{i}."
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"): shapes |= both(f"{layer}self_attn.{name}", width, width)
        shapes |= both(layer + "layer_norm1", width) | both(layer + "mlp.fc1", c["intermediate_size"], width) | both(layer + "mlp.fc2", width, c["intermediate_size"]) | both(layer + "layer_norm2", width)
    return shapes | both("text_model.final_layer_norm", width)


def clip(run, c, ids, mask, act):
    x, n, eps = run.w["text_model.embeddings.token_embedding.weight"][ids] + run.w["text_model.embeddings.position_embedding.weight"][: len(ids)], c["num_attention_heads"], c["layer_norm_eps"]
    bias = masked(torch.ones(len(ids), len(ids), dtype=torch.bool).tril() & mask[None])
    for i in range(c["num_hidden_layers"]):
        layer = f"text_model.encoder.layers.{i}."
        h = run.layer_norm(layer + "layer_norm1", x, eps)
        q, k, v = (heads(run.linear(f"{layer}self_attn.{name}_proj", h), n) for name in "qkv")
        x = x + run.linear(layer + "self_attn.out_proj", attend(q, k, v, (c["hidden_size"] // n) ** -0.5, bias))
        h = run.linear(layer + "mlp.fc1", run.layer_norm(layer + "layer_norm2", x, eps))
        h = h * torch.sigmoid(1.702 * h) if act == "quick_gelu" else 0.5 * h * (1 + torch.erf(h / math.sqrt(2)))
        x = x + run.linear(layer + "mlp.fc2", h)
    states = run.layer_norm("text_model.final_layer_norm", x, eps)
    return states, states[ids.argmax()]


# Qwen2: RMS norms, rotary positions, grouped queries, SwiGLU; padding sees the text and is not seen.
QWEN2 = dict(hidden_size=32, num_attention_heads=4, num_key_value_heads=2, num_hidden_layers=2, intermediate_size=48, vocab_size=50, rope_theta=1000000.0, rms_norm_eps=1e-6)


def qwen2_shapes(c):
    width, kv = c["hidden_size"], c["hidden_size"] // c["num_attention_heads"] * c["num_key_value_heads"]
    shapes = {"model.embed_tokens.weight": (c["vocab_size"], width)}
    for i in range(c["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        for name, to in (("q", width), ("k", kv), ("v", kv)): shapes |= {f"{layer}self_attn.{name}_proj.weight": (to, width), f"{layer}self_attn.{name}_proj.bias": (to,)}
        shapes |= {layer + "self_attn.o_proj.weight": (width, width), layer + "input_layernorm.weight": (width,), layer + "post_attention_layernorm.weight": (width,)}
        shapes |= {layer + "mlp.gate_proj.weight": (c["intermediate_size"], width), layer + "mlp.up_proj.weight": (c["intermediate_size"], width), layer + "mlp.down_proj.weight": (width, c["intermediate_size"])}
    return shapes | {"model.norm.weight": (width,)}


def qwen2(run, c, ids, mask):
    n, groups, eps = c["num_attention_heads"], c["num_attention_heads"] // c["num_key_value_heads"], c["rms_norm_eps"]
    size = c["hidden_size"] // n
    angles = torch.arange(len(ids)).double()[:, None] * c["rope_theta"] ** (-torch.arange(0, size, 2).double() / size)
    cos, sin = torch.cat([angles, angles], -1).cos(), torch.cat([angles, angles], -1).sin()
    rotate = lambda x: x * cos + torch.cat([-x[..., size // 2:], x[..., : size // 2]], -1) * sin
    bias = masked(torch.ones(len(ids), len(ids), dtype=torch.bool).tril() & mask[None])
    x = run.w["model.embed_tokens.weight"][ids]
    for i in range(c["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        h = run.rms(layer + "input_layernorm", x, eps)
        q, k, v = (run.linear(f"{layer}self_attn.{name}_proj", h) for name in "qkv")
        q, k, v = rotate(heads(q, n)), rotate(heads(k, n // groups)).repeat_interleave(groups, 0), heads(v, n // groups).repeat_interleave(groups, 0)
        x = x + run.linear(layer + "self_attn.o_proj", attend(q, k, v, size ** -0.5, bias))
        h = run.rms(layer + "post_attention_layernorm", x, eps)
        gate = run.linear(layer + "mlp.gate_proj", h)
        x = x + run.linear(layer + "mlp.down_proj", gate * torch.sigmoid(gate) * run.linear(layer + "mlp.up_proj", h))
    return run.rms("model.norm", x, eps)


def folder(name, config):
    path = os.path.join(sys.argv[1], name)
    os.makedirs(path, exist_ok=True)
    json.dump(config, open(os.path.join(path, "config.json"), "w"), indent=1)
    return path


def text(length, low, high): return torch.randint(low, high, (length,))
def padded(ids, length, pad): return torch.cat([ids, torch.full((length - len(ids),), pad)]), torch.arange(length) < len(ids)


def main():
    out = {}
    # Published in parts, with the decoder's tensors and the head.
    path = folder("t5-tiny", {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "feed_forward_proj": "gated-gelu", **T5})
    made = weights(t5_shapes(T5))
    extra = {"decoder.final_layer_norm.weight": torch.ones(32, dtype=F32), "lm_head.weight": torch.zeros(4, 4, dtype=F32), "encoder.embed_tokens.weight": made["shared.weight"][:1]}
    names = list(made)
    parts = {"model-00001-of-00002.safetensors": {k: made[k] for k in names[:9]}, "model-00002-of-00002.safetensors": {k: made[k] for k in names[9:]} | extra}
    for file, tensors in parts.items(): save(os.path.join(path, file), tensors)
    json.dump({"metadata": {}, "weight_map": {k: file for file, tensors in parts.items() for k in tensors}}, open(os.path.join(path, "model.safetensors.index.json"), "w"), indent=1)
    run, golden = Run(made), {"buckets": bucket(torch.arange(-511, 512), 32, 128).int()}
    for length in (1, 6, 210):
        ids = torch.cat([text(length - 1, 3, 64), torch.tensor([1])])
        golden[f"{length}.ids"] = ids.int()
        golden[f"{length}.features"] = t5(run, T5, *padded(ids, 256, 0))[:length].to(F32)
    save(os.path.join(path, "golden.safetensors"), golden)

    # The end marker is wrong in the configuration, as in the published ones; a buffer of positions is among the tensors.
    path = folder("clip-tiny", {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "hidden_act": "gelu", "bos_token_id": 0, "eos_token_id": 2, **CLIP})
    made = weights(clip_shapes(CLIP))
    save(os.path.join(path, "model.safetensors"), made | {"text_model.embeddings.position_ids": torch.arange(77)[None]})
    run, golden = Run(made), {}
    for length in (2, 9, 77):
        ids = torch.cat([torch.tensor([58]), text(length - 2, 0, 58), torch.tensor([59])])
        if length == 9: ids[5] = 59
        golden[f"{length}.ids"] = ids.int()
        for act in ("gelu", "quick_gelu"):
            states, pooled = clip(run, CLIP, *padded(ids, 77, 0), act)
            golden[f"{length}.{act}.features"], golden[f"{length}.{act}.pooled"] = states[:length].to(F32), pooled.to(F32)
    save(os.path.join(path, "golden.safetensors"), golden)

    # One text alone, two with padding behind and between.
    path = folder("qwen2-tiny", {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", **QWEN2})
    json.dump({"pad_token": "<|endoftext|>", "padding_side": "left", "added_tokens_decoder": {"0": {"content": "<|endoftext|>"}}}, open(os.path.join(path, "tokenizer_config.json"), "w"), indent=1)
    made = weights(qwen2_shapes(QWEN2))
    save(os.path.join(path, "model.safetensors"), made | {"lm_head.weight": torch.zeros(4, 4, dtype=F32)})
    run, golden = Run(made), {}
    for name, ids in {"alone": text(60, 1, 50), "behind": padded(text(7, 1, 50), 20, 0)[0], "between": torch.cat([text(5, 1, 50), torch.zeros(6).long(), text(4, 1, 50)])}.items():
        golden[f"{name}.ids"], golden[f"{name}.features"] = ids.int(), qwen2(run, QWEN2, ids, ids != 0).to(F32)
    save(os.path.join(path, "golden.safetensors"), golden)


main()
