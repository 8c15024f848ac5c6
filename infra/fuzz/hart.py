"""HART by its formulas (arXiv 2410.10812): a second implementation, for checking the engine."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from layers import Cache, Scores, attend, fused_qkv, gelu, guided, layer_norm, margin, rms_norm
from record import Recording
from tokenizers import Codes, codes_decoder
from weights import Weights

KIND = "hart"
TIME_CHANNELS = 256
LATENT_SCALE = 0.6


def time_embedding(w: Weights, name: str, t: torch.Tensor, width: int) -> torch.Tensor:
    half = TIME_CHANNELS // 2
    angles = t.double()[:, None] * torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float64) / half)
    x = torch.cat([angles.cos(), angles.sin()], -1)
    return w.linear(f"{name}.mlp.2", F.silu(w.linear(f"{name}.mlp.0", x, width, 1.4)), width, 1.4)


def turned(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Channels m and m + half are a pair, each output with the angle of its own channel. angles [rows, tokens, size]."""
    a, b = x.chunk(2, -1)
    return x * angles.cos()[:, None] + torch.cat([-b, a], -1) * angles.sin()[:, None]


def text_angles(positions: torch.Tensor, size: int) -> torch.Tensor:
    frequencies = 10000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    return (positions.double()[..., None] * frequencies).repeat(1, 1, 2)


def grid_angles(side: int, largest: int, after: torch.Tensor, size: int) -> torch.Tensor:
    """[rows, side^2, size]: the first half of the channels by y, the second by x. `after`: by row."""
    frequencies = 10000.0 ** (-torch.arange(0, size, 4, dtype=torch.float64) / size)
    places = torch.arange(side, dtype=torch.float64) / side * largest
    y, x = torch.meshgrid(places, places, indexing="ij")
    halves = []
    for axis in (y, x):
        at = axis.flatten()[None] + after.double()[:, None]
        halves.append((at[..., None] * frequencies).repeat(1, 1, 2))
    return torch.cat(halves, -1)


class Diffusion:
    """Denoising of a thousand steps with a cosine schedule, of which few are taken (arXiv 2102.09672)."""

    def __init__(self, w: Weights, width: int, depth: int, steps: int) -> None:
        self.w, self.width, self.depth = w, width, depth
        bar = lambda t: math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2  # noqa: E731
        products = np.cumprod([1 - min(1 - bar(t + 1) / bar(t), 0.999) for t in range(1000)])
        stride, at, self.times = 999 / (steps - 1), 0.0, []
        for _ in range(steps):
            self.times.append(round(at))
            at += stride
        self.bars = products[self.times]
        self.before = np.append(1.0, self.bars[:-1])
        self.betas = 1 - self.bars / self.before
        variance = self.betas * (1 - self.before) / (1 - self.bars)
        self.least = np.log(np.append(variance[1], variance[1:]))

    def network(self, x: torch.Tensor, time: int, c: torch.Tensor) -> torch.Tensor:
        w, name, width = self.w, "diffloss.net", self.width
        h = w.linear(f"{name}.input_proj", x, width)
        y = time_embedding(w, f"{name}.time_embed", torch.tensor([time]), width)
        y = F.silu(y + w.linear(f"{name}.cond_embed", c, width))
        for b in range(self.depth):
            block = f"{name}.res_blocks.{b}"
            shift, scale, gate = w.linear(f"{block}.adaLN_modulation.1", y, 3 * width, 0.5).chunk(3, -1)
            weight, bias = w(f"{block}.in_ln.weight", width, std=0.1, shift=1.0), w(f"{block}.in_ln.bias", width, std=0.1)
            inner = F.layer_norm(h, (width,), weight, bias, 1e-6) * (1 + scale) + shift
            h = h + gate * w.linear(f"{block}.mlp.2", F.silu(w.linear(f"{block}.mlp.0", inner, width)), width)
        shift, scale = w.linear(f"{name}.final_layer.adaLN_modulation.1", y, 2 * width, 0.5).chunk(2, -1)
        return w.linear(f"{name}.final_layer.linear", layer_norm(h, 1e-6) * (1 + scale) + shift, 2 * x.shape[-1])

    def sample(self, out: Recording, c: torch.Tensor, t: float, noises: dict) -> torch.Tensor:
        """c [2 n, ..], conditional half first -> [n, channels]."""
        n, channels = noises["diff.noise_init"].shape
        x = noises["diff.noise_init"].repeat(2, 1)
        steps = len(self.times)
        for k, i in enumerate(reversed(range(steps))):
            out(f"diff.step{k}.t", torch.tensor([float(self.times[i])]))
            out(f"diff.step{k}.x", x)
            eps, rest = self.network(x[:n].repeat(2, 1), self.times[i], c).split(channels, -1)
            eps = guided(eps, t).repeat(2, 1)
            out(f"diff.step{k}.model_out", torch.cat([eps, rest], -1))
            share = (rest + 1) / 2
            log = share * math.log(self.betas[i]) + (1 - share) * self.least[i]
            start = (math.sqrt(1 / self.bars[i]) * x - math.sqrt(1 / self.bars[i] - 1) * eps).clamp(-1, 1)
            mean = self.betas[i] * math.sqrt(self.before[i]) / (1 - self.bars[i]) * start
            mean = mean + (1 - self.before[i]) * math.sqrt(1 - self.betas[i]) / (1 - self.bars[i]) * x
            x = mean + (torch.exp(0.5 * log) * noises[f"diff.step{k}.noise"] if i > 0 else 0)
        return out("diff.out", x * LATENT_SCALE)[:n]


def record(c: dict, v: dict, run: dict, w: Weights, vae: Weights) -> Recording:
    out = Recording()
    width, heads, depth, eps, sides = c["embed_dim"], c["num_heads"], c["depth"], c["norm_eps"], c["patch_nums"]
    size, last, tokens = width // heads, len(sides) - 1, c["context_token"]
    draws = run["draws"]
    for name, tensor in draws.items():
        out.given(name, tensor)
    given, mask = draws["context"], draws["context.mask"]
    both = torch.cat([given, torch.zeros_like(given)])
    if c["use_context_norm"]:
        both = rms_norm(both, eps) * w("context_norm.weight", c["context_dim"], std=0.2, shift=1.0)
    condition = out("context.embed", w.linear("context_embed", both, width))
    valid = torch.cat([mask, F.one_hot(torch.tensor([0]), tokens).to(mask)])
    positions = torch.cat([mask.cumsum(-1) - 1, torch.zeros_like(mask)])
    mean = (condition * valid[..., None]).sum(1) / valid.sum(1, keepdim=True).clamp(min=1)
    greatest = condition.max(1).values
    if c["use_timestep_embed"]:
        levels = time_embedding(w, "lvl_embed", torch.arange(len(sides)), width)
    else:
        levels = w("lvl_embed.weight", len(sides), width, std=0.5)

    blocks = []
    for b in range(depth):
        name, vectors = f"blocks.{b}", None
        if not c["disable_aln"]:
            pooled = mean if c["sep_aln_pooling_mode"] == "avg" else greatest
            vectors = w.linear(f"{name}.ada_lin.1", F.silu(pooled), 6 * width, 0.4).view(2, 6, 1, width).unbind(1)
        elif c["shared_aln"]:
            vectors = (w(f"{name}.scale_shift_table", 6, width, std=0.4) + mean[:, None]).unsqueeze(2).unbind(1)
        scores = Scores(w, f"{name}.attn", heads, size, c["attn_l2_norm"], 0.25 / math.sqrt(size), b == depth - 1)
        norm = w(f"{name}.ln_wo_grad.weight", width, std=0.2, shift=1.0)
        blocks.append((name, vectors or (1, 1, 0, 0, 0, 0), scores, norm, Cache()))

    def feed_forward(name: str, x: torch.Tensor) -> torch.Tensor:
        if c["mlp_type"] == "gpt2":
            return w.linear(f"{name}.fc2", gelu(w.linear(f"{name}.fc1", x, round(width * c["mlp_ratio"]))), width)
        inner = int((width * c["mlp_ratio"] * 2) / 3 + 255) // 256 * 256
        gate = F.silu(w.linear(f"{name}.gate_proj", x, inner, bias=False))
        return w.linear(f"{name}.down_proj", gate * w.linear(f"{name}.up_proj", x, inner, bias=False), width, bias=False)

    codes, decoder = Codes(vae, v, len(sides)), codes_decoder(vae, v)
    f_hat = torch.zeros(1, v["Cvae"], sides[-1], sides[-1], dtype=torch.float64)
    x = condition + levels[0]
    for i, side in enumerate(sides):
        s = f"s{i}"
        out(f"{s}.input", x)
        angles = text_angles(positions, size) if i == 0 else grid_angles(side, sides[-1], positions[:, -1], size)
        for b, (name, (gamma1, gamma2, scale1, scale2, shift1, shift2), scores, weight, cache) in enumerate(blocks):
            normed = rms_norm(x, eps) * weight * (1 + scale1) + shift1
            q, k, value = fused_qkv(w, f"{name}.attn", normed, heads, "qkv_proj")
            q, k = scores.normalise(q, k)
            q, k = turned(q, angles), turned(k, angles)
            k, value = cache.add(k, value)
            read = w.linear(f"{name}.attn.proj", attend(q, k, value, scores.scale), width)
            x = x + gamma1 * out(f"{s}.blk{b}.attn_out", read)
            normed = rms_norm(x, eps) * weight * (1 + scale2) + shift2
            x = out(f"{s}.blk{b}.out", x + gamma2 * out(f"{s}.blk{b}.ffn_out", feed_forward(f"{name}.ffn", normed)))
            out(f"{s}.blk{b}.k_cache", k), out(f"{s}.blk{b}.v_cache", value)
        scale, shift = w.linear("head_nm.ada_lin.1", F.silu(greatest), 2 * width, 0.4).view(2, 1, 2, width).unbind(2)
        head_norm = w("head_nm.ln_wo_grad.weight", width, std=0.2, shift=1.0)
        logits = w.linear("head", rms_norm(x, eps) * head_norm * (1 + scale) + shift, v["V"], 3)
        logits = out(f"{s}.logits_pre_cfg", logits[:, -1:] if i == 0 else logits)
        # The last scale keeps the guidance of the one before.
        t = run["cfg"] * min(i, last - 1) / last
        logits = out(f"{s}.logits_post_cfg", guided(logits, t))
        out.margin(margin(logits))
        chosen = out.exact(f"{s}.idx", logits.argmax(-1))
        if i < last:
            f_hat = out(f"{s}.f_hat", codes.add(f_hat, i, chosen, side))
            seen = F.interpolate(f_hat, size=(sides[i + 1],) * 2, mode="area").flatten(2).transpose(1, 2)
            x = (w.linear("word_embed", seen, width) + levels[i + 1]).repeat(2, 1, 1)

    embedded = codes.embed(chosen)
    z = rms_norm(x + w.linear("word_embed", embedded, width), eps) * w("decoder_norm.weight", width, std=0.2, shift=1.0)
    out("diff.cond", z), out("diff.cfg", torch.tensor([t]))
    diffusion = Diffusion(w, c["diff_width"], c["diff_depth"], int(c["num_sampling_steps"]))
    residual = diffusion.sample(out, z.flatten(0, 1), t, draws)
    as_map = lambda tokens: tokens.transpose(1, 2).reshape(f_hat.shape)  # noqa: E731
    out.picture("image_discrete_only", decoder(f_hat + as_map(embedded))[0])
    f_hat = out("f_hat_final", f_hat + as_map(embedded + residual[None]))
    out.picture("image", decoder(f_hat)[0])
    return out
