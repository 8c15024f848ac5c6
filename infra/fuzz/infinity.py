"""Infinity by its formulas (arXiv 2412.04431): a second implementation, for checking the engine."""

import math

import torch
import torch.nn.functional as F

from layers import Cache, Scores, attend, by_head, fused_kv, fused_qkv, gelu, layer_norm, rms_norm, rotate_pairs
from record import Recording
from tokenizers import Decoder
from weights import Weights

KIND = "infinity"
LEVELS = 15
LARGE = 128


def rotary(grids: list[tuple[int, int]], reach: tuple[int, int], size: int, spread: int) -> torch.Tensor:
    """Cosines and sines [2, tokens of all scales, size / 2]: the first half of the pairs by y, the second by x."""
    half = size // 2
    frequencies = 10000.0 ** (-torch.arange(0, half, 2, dtype=torch.float64) / half)
    places = torch.outer(torch.arange(LARGE, dtype=torch.float64), frequencies)
    angles = torch.cat([places[:, None].expand(-1, LARGE, -1), places[None].expand(LARGE, -1, -1)], -1)
    table = torch.stack([angles.cos(), angles.sin()])
    h, w = reach
    large = (LARGE, int(LARGE / h * w)) if h >= w else (int(LARGE / w * h), LARGE)
    scales = []
    for height, width in grids:
        if spread == 0:
            own = table[:, :height, :width]
        elif spread == 1:
            whole = table[:, : large[0], : large[1]].permute(0, 3, 1, 2)
            own = F.interpolate(whole, size=(height, width), mode="bilinear", align_corners=True).permute(0, 2, 3, 1)
        else:
            y = (torch.arange(height) * (h / height)).round().long()
            x = (torch.arange(width) * (w / width)).round().long()
            own = table[:, y][:, :, x]
        scales.append(own.reshape(2, height * width, half))
    return torch.cat(scales, 1)


def record(c: dict, v: dict, run: dict, w: Weights, vae: Weights) -> Recording:
    out = Recording()
    width, heads, depth, eps = c["embed_dim"], c["num_heads"], c["depth"], c["norm_eps"]
    grids = [(h, x) for _, h, x in run["scale_schedule"]]
    patch, bits = (2 if c["apply_spatial_patchify"] else 1), v["codebook_dim"]
    size, last, dims = width // heads, len(grids) - 1, bits * patch**2
    plain_norm = rms_norm if c["rms_norm"] else layer_norm

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        weight = w(f"{name}.weight", width, std=0.2, shift=1.0)
        return plain_norm(x, eps) * weight + (0 if c["rms_norm"] else w(f"{name}.bias", width, std=0.1))

    features = run["draws"]["text.feats"]
    out.given("text.feats", features)
    tokens, channels = features.shape
    both = torch.cat([features, w("cfg_uncond", c["text_maxlen"], channels, std=0.7)[:tokens]])
    text = out("text.norm_out", rms_norm(both, eps) * w("text_norm.weight", channels, std=0.2, shift=1.0))
    pool_heads = channels // (64 if width > 4096 else 128)
    pool = "text_proj_for_sos.ca"
    k, value = fused_kv(w, pool, text.view(2, tokens, channels), width, pool_heads)
    query = w(f"{pool}.mat_q", 1, pool_heads, width // pool_heads, std=0.5).expand(2, -1, -1).unsqueeze(2)
    pooled = attend(query, k, value, 1 / math.sqrt(width // pool_heads))
    sos = out("text.sos", w.linear(f"{pool}.proj", pooled, width)[:, 0])
    source = gelu(w.linear("text_proj_for_ca.0", text, width))
    source = out("text.kv_proj", w.linear("text_proj_for_ca.2", source, width)).view(2, tokens, width)
    silu = F.silu(sos)
    if c["shared_aln"]:
        shared = out("text.shared_gss", w.linear("shared_ada_lin.1", silu, 6 * width, 0.4).view(2, 1, 6, width))
    table = out("rope.cache", rotary(grids, run["reach"], size, c["rope2d_normalized_by_hw"]))

    per_chunk = depth // c["block_chunks"]
    blocks = []
    for b in range(depth):
        # The official class has no chunks where there is one.
        name = f"blocks.{b}" if c["block_chunks"] == 1 else f"block_chunks.{b // per_chunk}.module.{b % per_chunk}"
        if c["shared_aln"]:
            vectors = shared + w(f"{name}.ada_gss", 1, 1, 6, width, std=0.4)
        else:
            vectors = w.linear(f"{name}.ada_lin.1", silu, 6 * width, 0.4).view(2, 1, 6, width)
        plain = 1 / math.sqrt(size) / c["tau"]
        scores = Scores(w, f"{name}.sa", heads, size, c["cos_attn"], plain, b == depth - 1)
        gate = w(f"{name}.ca_gamma", width, std=0.5) if c["cross_attn_layer_scale"] >= 0 else 1
        if c["rms_norm"]:
            w(f"{name}.ln_wo_grad.weight", width, shift=1.0)
        blocks.append((name, vectors.unbind(2), scores, gate, Cache()))
    levels = w("lvl_embed.weight", LEVELS, width, std=0.5)

    def feed_forward(name: str, x: torch.Tensor) -> torch.Tensor:
        inner = round(width * c["mlp_ratio"] / 256) * 256
        if not c["swiglu"]:
            return w.linear(f"{name}.fc2", gelu(w.linear(f"{name}.fc1", x, inner)), width)
        inner = round(2 * inner / 3 / 256) * 256
        gate = F.silu(w.linear(f"{name}.fcg", x, inner, bias=False))
        return w.linear(f"{name}.fc2", gate * w.linear(f"{name}.fc1", x, inner, bias=False), width, bias=False)

    def head(x: torch.Tensor) -> torch.Tensor:
        at = 0
        if c["head_aln"]:
            scale, shift = w.linear("head_nm.ada_lin.1", silu, 2 * width, 0.4).view(2, 1, 2, width).unbind(2)
            x = plain_norm(x, eps) * (1 + scale) + shift
        else:
            x, at = norm("head.0", x), 1
        if c["head_depth"] == 2:
            return w.linear(f"head.{at + 2}", gelu(w.linear(f"head.{at}", x, width, 1.5)), 2 * dims, 3)
        return w.linear("head" if at == 0 else "head.1", x, 2 * dims, 3)

    decoder = Decoder(vae, v["base_ch"], v["decoder_ch_mult"], v["num_res_blocks"], False)
    final = (grids[-1][0] * patch, grids[-1][1] * patch)
    summed = torch.zeros(1, bits, *final, dtype=torch.float64)
    x = sos[:, None] + w("pos_start", 1, 1, width, std=0.5)
    done = 0
    for i, (height, across) in enumerate(grids):
        s, own = f"s{i}", slice(done, done + height * across)
        done += height * across
        for b, (name, (gamma1, gamma2, scale1, scale2, shift1, shift2), scores, gate, cache) in enumerate(blocks):
            begins = c["block_chunks"] == 1 or b % per_chunk == 0
            if b == 0 or (begins and not c["add_lvl_embeding_only_first_block"]):
                x = x + levels[i]
            if b == 0:
                out(f"{s}.block_in", x)
            normed = plain_norm(x, eps) * (1 + scale1) + shift1
            q, k, value = fused_qkv(w, f"{name}.sa", normed, heads)
            q, k = scores.normalise(q, k)
            q, k = rotate_pairs(q, *table[:, own]), rotate_pairs(k, *table[:, own])
            k, value = cache.add(k, value)
            read = w.linear(f"{name}.sa.proj", attend(q, k, value, scores.scale), width)
            x = x + gamma1 * out(f"{s}.blk{b}.sa_out", read)
            q = by_head(w.linear(f"{name}.ca.mat_q", norm(f"{name}.ca_norm", x), width), heads)
            tk, tv = fused_kv(w, f"{name}.ca", source, width, heads)
            read = w.linear(f"{name}.ca.proj", attend(q, tk, tv, 1 / math.sqrt(size)), width)
            x = x + gate * out(f"{s}.blk{b}.ca_out", read)
            normed = plain_norm(x, eps) * (1 + scale2) + shift2
            x = out(f"{s}.blk{b}.out", x + gamma2 * out(f"{s}.blk{b}.ffn_out", feed_forward(f"{name}.ffn", normed)))
            out(f"{s}.blk{b}.k_cache", k), out(f"{s}.blk{b}.v_cache", value)
        logits = out(f"{s}.logits_pre", head(x)) / run["tau"]
        logits = run["cfg"] * logits[:1] + (1 - run["cfg"]) * logits[1:]
        pairs = out(f"{s}.logits_post", logits.reshape(1, -1, 2))
        out.margin((pairs[..., 1] - pairs[..., 0]).abs().min().item())
        drawn = (pairs[..., 1] > pairs[..., 0]).long().view(height, across, dims)
        out.exact(f"{s}.bits", drawn)
        cells = drawn.permute(2, 0, 1)[None].double()
        if patch == 2:
            cells = F.pixel_shuffle(cells, 2)
        values = (2 * cells - 1) / math.sqrt(bits)
        if i < last:
            values = F.interpolate(values, size=final, mode="bilinear")
        summed = summed + values
        out(f"{s}.summed_codes", summed[0])
        if i < last:
            seen = F.interpolate(summed, size=(grids[i + 1][0] * patch, grids[i + 1][1] * patch), mode="bilinear")
            if patch == 2:
                seen = F.pixel_unshuffle(seen, 2)
            seen = out(f"s{i + 1}.word_embed_in", seen.flatten(2).transpose(1, 2))
            x = w.linear("word_embed", seen, width).repeat(2, 1, 1)
    out("summed_codes_final", summed[0])
    out.picture("image", decoder(summed)[0])
    return out
