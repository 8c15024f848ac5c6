"""STAR by its formulas (arXiv 2406.10797): a second implementation, for checking the engine."""

import math

import torch
import torch.nn.functional as F

from layers import Cache, Scores, attend, by_head, fused_kv, fused_qkv, gelu, guided, layer_norm, margin, rotate_pairs
from record import Recording
from tokenizers import Codes, codes_decoder
from weights import Weights

KIND = "star"


def rotary(sides: list[int], size: int, theta: float, norm: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines [tokens of all scales, size / 2]: the first half of the pairs by x, the second by y."""
    frequencies = theta ** (-torch.arange(0, size, 4, dtype=torch.float64) / size)
    angles = []
    for side in sides:
        t = torch.arange(side * side, dtype=torch.float64)
        x, y = t % side, torch.div(t, side, rounding_mode="floor")
        if norm != -1 and side > 1:
            x, y = x / x.max() * norm, y / y.max() * norm
        angles.append(torch.cat([torch.outer(x, frequencies), torch.outer(y, frequencies)], -1))
    every = torch.cat(angles)
    return every.cos(), every.sin()


def record(c: dict, v: dict, run: dict, w: Weights, vae: Weights) -> Recording:
    out = Recording()
    width, heads, depth, eps, sides = c["embed_dim"], c["num_heads"], c["depth"], c["norm_eps"], c["patch_nums"]
    size, last, first = width // heads, len(sides) - 1, sides[0] ** 2
    ffn = round(width * c["mlp_ratio"])
    draws = run["draws"]
    text, mask, pool = draws["text.feats"], draws["text.mask"], draws["text.pool"]
    out.given("text.feats", text), out.given("text.mask", mask), out.given("text.pool", pool)
    hidden = torch.where(mask == 1, 0.0, -math.inf).double()[:, None, None]
    sos = out("text.sos", w.linear("encoder_proj", pool, width))
    cos, sin = rotary(sides, size, c["rope_theta"], c["rope_norm"])
    out("rope.cos", cos), out("rope.sin", sin)
    blocks = []
    for b in range(depth):
        name, plain = f"blocks.{b}", 0.25 / math.sqrt(size)
        own = Scores(w, f"{name}.attn", heads, size, c["attn_l2_norm"], plain, b == depth - 1)
        cross = Scores(w, f"{name}.cross_attn", heads, size, c["attn_l2_norm"], plain, False) if c["enable_cross"] else None
        blocks.append((name, own, cross, Cache()))
    w("class_emb.weight", c["num_classes"] + 1, width, std=1.0)  # Official files have it, and nothing reads it.
    levels = w("lvl_embed.weight", len(sides), width, std=0.5)

    codes, decoder = Codes(vae, v, len(sides)), codes_decoder(vae, v)
    f_hat = torch.zeros(1, v["Cvae"], sides[-1], sides[-1], dtype=torch.float64)
    x = sos[:, None] + w("pos_start", 1, first, width, std=0.5) + levels[0]
    done = 0
    for i, side in enumerate(sides):
        s, own = f"s{i}", slice(done, done + side**2)
        done += side**2
        out(f"{s}.input", x)
        for b, (name, scores, cross, cache) in enumerate(blocks):
            q, k, value = fused_qkv(w, f"{name}.attn", layer_norm(x, eps), heads)
            q, k = rotate_pairs(q, cos[own], sin[own]), rotate_pairs(k, cos[own], sin[own])
            q, k = scores.normalise(q, k)
            k, value = cache.add(k, value)
            x = x + out(f"{s}.blk{b}.attn_out", w.linear(f"{name}.attn.proj", attend(q, k, value, scores.scale), width))
            if cross:
                q = w.linear(f"{name}.cross_attn.mat_q", layer_norm(x, eps), width, bias=False)
                q = by_head(q + w(f"{name}.cross_attn.q_bias", width, std=0.1), heads)
                tk, tv = fused_kv(w, f"{name}.cross_attn", text, width, heads)
                q, tk = cross.normalise(q, tk)
                read = w.linear(f"{name}.cross_attn.proj", attend(q, tk, tv, cross.scale, hidden), width)
                # Every row gets what the first one read.
                x = x + out(f"{s}.blk{b}.cross_attn_out", read)[0]
            inner = gelu(w.linear(f"{name}.ffn.fc1", layer_norm(x, eps), ffn))
            x = out(f"{s}.blk{b}.out", x + out(f"{s}.blk{b}.ffn_out", w.linear(f"{name}.ffn.fc2", inner, width)))
            out(f"{s}.blk{b}.k_cache", k), out(f"{s}.blk{b}.v_cache", value)
        states = layer_norm(x, eps) if c["enable_logit_norm"] else x
        logits = out(f"{s}.logits_pre_cfg", w.linear("head_logits", states, v["V"], 3))
        logits = out(f"{s}.logits_post_cfg", guided(logits, run["cfg"] * i / last))
        out.margin(margin(logits))
        chosen = out.exact(f"{s}.idx", logits.argmax(-1))
        f_hat = out(f"{s}.f_hat", codes.add(f_hat, i, chosen, side))
        if i < last:
            seen = F.interpolate(f_hat, size=(sides[i + 1],) * 2, mode="area").flatten(2).transpose(1, 2)
            x = (w.linear("word_embed", seen, width) + levels[i + 1]).repeat(2, 1, 1)
    out.picture("image", decoder(f_hat)[0])
    return out
