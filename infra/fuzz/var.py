"""VAR by its formulas (arXiv 2404.02905): a second implementation, for checking the engine."""

import math

import torch
import torch.nn.functional as F

from layers import Cache, Scores, attend, fused_qkv, gelu, guided, layer_norm, margin
from record import Recording
from tokenizers import Codes, Decoder, codes_decoder
from weights import Weights

KIND = "var"


def record(c: dict, v: dict, run: dict, w: Weights, vae: Weights) -> Recording:
    out = Recording()
    width, heads, depth, eps, sides = c["embed_dim"], c["num_heads"], c["depth"], c["norm_eps"], c["patch_nums"]
    labels, size = torch.tensor(run["labels"]), width // heads
    ffn = round(width * c["mlp_ratio"])
    images, last, first = len(labels), len(sides) - 1, sides[0] ** 2
    out.given("labels", labels.int())
    rows = torch.cat([labels, torch.full_like(labels, c["num_classes"])])
    condition = out("cond_BD", w("class_emb.weight", c["num_classes"] + 1, width, std=0.8)[rows])
    silu = F.silu(condition)
    if c["shared_aln"]:
        shared = out("shared_gss", w.linear("shared_ada_lin.1", silu, 6 * width, 0.4).view(-1, 1, 6, width))
    blocks = []
    for b in range(depth):
        name = f"blocks.{b}"
        if c["shared_aln"]:
            vectors = shared + w(f"{name}.ada_gss", 1, 1, 6, width, std=0.4)
        else:
            vectors = w.linear(f"{name}.ada_lin.1", silu, 6 * width, 0.4).view(-1, 1, 6, width)
        plain = 0.25 / math.sqrt(size)
        scores = Scores(w, f"{name}.attn", heads, size, c["attn_l2_norm"], plain, b == depth - 1)
        blocks.append((name, vectors.unbind(2), scores, Cache()))
    levels = torch.cat([torch.full((side**2,), i) for i, side in enumerate(sides)])
    embedding = w("lvl_embed.weight", len(sides), width, std=0.5)[levels]
    embedding = embedding + w("pos_1LC", 1, len(levels), width, std=0.5)[0]

    codes, decoder = Codes(vae, v, len(sides)), codes_decoder(vae, v)
    f_hat = torch.zeros(images, v["Cvae"], sides[-1], sides[-1], dtype=torch.float64)
    x = condition[:, None] + w("pos_start", 1, first, width, std=0.5) + embedding[:first]
    done = 0
    for i, side in enumerate(sides):
        s = f"s{i}"
        out(f"{s}.input", x)
        for b, (name, (gamma1, gamma2, scale1, scale2, shift1, shift2), scores, cache) in enumerate(blocks):
            normed = layer_norm(x, eps) * (1 + scale1) + shift1
            q, k, value = fused_qkv(w, f"{name}.attn", normed, heads)
            q, k = scores.normalise(q, k)
            k, value = cache.add(k, value)
            read = w.linear(f"{name}.attn.proj", attend(q, k, value, scores.scale), width)
            x = x + gamma1 * out(f"{s}.blk{b}.attn_out", read)
            inner = gelu(w.linear(f"{name}.ffn.fc1", layer_norm(x, eps) * (1 + scale2) + shift2, ffn))
            x = out(f"{s}.blk{b}.out", x + gamma2 * out(f"{s}.blk{b}.ffn_out", w.linear(f"{name}.ffn.fc2", inner, width)))
            out(f"{s}.blk{b}.k_cache", k)
            out(f"{s}.blk{b}.v_cache", value)
        scale, shift = w.linear("head_nm.ada_lin.1", silu, 2 * width, 0.4).view(-1, 1, 2, width).unbind(2)
        logits = out(f"{s}.logits_pre_cfg", w.linear("head", layer_norm(x, eps) * (1 + scale) + shift, v["V"], 3))
        logits = out(f"{s}.logits_post_cfg", guided(logits, run["cfg"] * i / last))
        out.margin(margin(logits))
        chosen = out.exact(f"{s}.idx", logits.argmax(-1))
        f_hat = out(f"{s}.f_hat", codes.add(f_hat, i, chosen, side))
        done += side**2
        if i < last:
            seen = out(f"{s}.next_map", F.interpolate(f_hat, size=(sides[i + 1],) * 2, mode="area"))
            own = embedding[done : done + sides[i + 1] ** 2]
            x = (w.linear("word_embed", seen.flatten(2).transpose(1, 2), width) + own).repeat(2, 1, 1)
    out.picture("image", decoder(f_hat))
    record_decoder(out, decoder, run["latent"])
    return out


def record_decoder(out: Recording, decoder: Decoder, latent: torch.Tensor) -> None:
    """The decoder alone, on a latent that is not square."""
    out.given("dec.own.f_hat", latent)
    taps: dict[str, torch.Tensor] = {}
    decoder(latent, taps)
    out.picture("dec.own.image", taps.pop("image")[0])
    for name, values in taps.items():
        out(f"dec.own.{name}", values)
