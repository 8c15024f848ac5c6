"""The next-scale transformer: parameter names, shapes and arithmetic of Infinity (Han et al. 2024, arXiv 2412.04431).

Shared AdaLN, cosine attention, 2-D rotary positions in every layer, a level embedding before the first block, cross-attention to
the text, two logits for every bit.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from text import padding

REACH, ROPE_BASE, MAX_LEVELS, EPS = 64, 10000.0, 15, 1e-6


def rope_table(schedule, head_dim):
    """cos and sin, tokens x head_dim / 2. The rows and columns of every scale are stretched over the same reach."""
    half = head_dim // 2
    frequency = 1.0 / ROPE_BASE ** (torch.arange(0, half, 2).float() / half)
    angles = []
    for h, w in schedule:
        y = torch.outer((torch.arange(h) * (REACH / h)).round(), frequency)[:, None].expand(h, w, -1)
        x = torch.outer((torch.arange(w) * (REACH / w)).round(), frequency)[None].expand(h, w, -1)
        angles.append(torch.cat([y, x], -1).reshape(h * w, half))
    angles = torch.cat(angles)
    return angles.cos(), angles.sin()


def rotate(t, cos, sin):
    """t: B x H x L x head_dim; channels 2i and 2i + 1 are one rotated pair."""
    a, b = t[..., 0::2], t[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


def attend(q, k, v, scale, mask=None):
    """B x H x L x d each; mask: additive."""
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else mask.to(q.dtype), scale=scale)
    scores = torch.matmul(q * scale, k.transpose(-1, -2))
    return torch.matmul(torch.softmax(scores if mask is None else scores + mask.to(scores.dtype), -1), v)


class SelfAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.scale_mul_1H11 = nn.Parameter(torch.full((1, heads, 1, 1), math.log(4.0)))
        self.mat_qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("zero_k_bias", torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x, rope, spans=None, cache=None):
        """spans: [(from, to, mask)] of queries that see the keys before `to` (training). cache: dict of keys and values (sampling)."""
        rows, tokens, width = x.shape
        bias = torch.cat([self.q_bias, self.zero_k_bias, self.v_bias])
        q, k, v = F.linear(x, self.mat_qkv.weight, bias).view(rows, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        sharpness = self.scale_mul_1H11.clamp_max(math.log(100.0)).exp()
        q = rotate(F.normalize(q.float(), dim=-1) * sharpness, *rope).to(v.dtype)
        k = rotate(F.normalize(k.float(), dim=-1), *rope).to(v.dtype)
        if cache is None:
            out = torch.cat([attend(q[:, :, start:end], k[:, :, :end], v[:, :, :end], 1.0, mask) for start, end, mask in spans], 2)
        else:
            if cache:
                k, v = torch.cat([cache["k"], k], 2), torch.cat([cache["v"], v], 2)
            cache.update(k=k, v=v)
            out = attend(q, k, v, 1.0)
        return self.proj(out.transpose(1, 2).reshape(rows, tokens, width))


class CrossAttention(nn.Module):
    """`pool`: one learned query, for the start token."""

    def __init__(self, width, text_width, heads, pool=False):
        super().__init__()
        self.heads, self.pool = heads, pool
        self.mat_q = nn.Parameter(torch.randn(1, heads, width // heads) / math.sqrt(3 * width)) if pool else nn.Linear(width, width)
        self.mat_kv = nn.Linear(text_width, 2 * width, bias=False)
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("zero_k_bias", torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x, text, mask):
        rows, tokens, _ = text.shape
        k, v = F.linear(text, self.mat_kv.weight, torch.cat([self.zero_k_bias, self.v_bias])).view(rows, tokens, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        q = self.mat_q.expand(rows, -1, -1).unsqueeze(2) if self.pool else self.mat_q(x).view(rows, -1, self.heads, k.shape[-1]).transpose(1, 2)
        return self.proj(attend(q.to(k.dtype), k, v, k.shape[-1] ** -0.5, mask).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.sa, self.ca = SelfAttention(width, heads), CrossAttention(width, width, heads)
        self.ffn = FeedForward(width, 4 * width)
        self.ca_norm = nn.LayerNorm(width, eps=EPS)
        self.ada_gss = nn.Parameter(torch.zeros(1, 1, 6, width))

    def forward(self, x, modulation, text, mask, rope, spans=None, cache=None):
        gain1, gain2, scale1, scale2, shift1, shift2 = (self.ada_gss + modulation).unbind(2)
        shape = x.shape[-1:]
        x = x + self.sa(F.layer_norm(x, shape, eps=EPS) * (1 + scale1) + shift1, rope, spans, cache) * gain1
        x = x + self.ca(self.ca_norm(x), text, mask)
        return x + self.ffn(F.layer_norm(x, shape, eps=EPS) * (1 + scale2) + shift2) * gain2


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        x = x.float()
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * self.weight


class NextScale(nn.Module):
    """cfg: the `transformer` part of a config; bits: of a token; schedule: the grids, coarse to fine."""

    def __init__(self, cfg, bits, schedule):
        super().__init__()
        width, text = cfg["width"], cfg["text"]["width"]
        self.bits, self.width, self.schedule = bits, width, [tuple(grid) for grid in schedule]
        self.cfg_uncond = nn.Parameter(torch.randn(cfg["text"]["max_tokens"], text) * text**-0.5)
        self.pos_start = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.text_norm = RMSNorm(text)
        self.text_proj_for_sos = nn.Module()
        self.text_proj_for_sos.ca = CrossAttention(width, text, text // 128, pool=True)
        self.text_proj_for_ca = nn.Sequential(nn.Linear(text, width), nn.GELU(approximate="tanh"), nn.Linear(width, width))
        self.lvl_embed, self.word_embed = nn.Embedding(MAX_LEVELS, width), nn.Linear(bits, width)
        self.shared_ada_lin = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.block_chunks = nn.ModuleList()
        for _ in range(cfg["chunks"]):
            chunk = nn.Module()
            chunk.module = nn.ModuleList([Block(width, cfg["heads"]) for _ in range(cfg["depth"] // cfg["chunks"])])
            self.block_chunks.append(chunk)
        self.head_nm = nn.Module()
        self.head_nm.ada_lin = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.head = nn.Linear(width, 2 * bits)
        for name, table in zip(("cos", "sin"), rope_table(self.schedule, width // cfg["heads"])):
            self.register_buffer(name, table, persistent=False)
        self.bounds = [0]
        for h, w in self.schedule:
            self.bounds.append(self.bounds[-1] + h * w)
        self.start()

    def blocks(self):
        return [block for chunk in self.block_chunks for block in chunk.module]

    def start(self):
        """Starting weights: residual branches closed, every bit even."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=math.sqrt(1 / module.in_features / 3))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.lvl_embed.weight, std=0.3)
        nn.init.normal_(self.word_embed.weight, std=0.5)
        nn.init.zeros_(self.head.weight)
        for linear in (self.shared_ada_lin[1], self.head_nm.ada_lin[1]):
            linear.weight.data.mul_(0.1)
        for block in self.blocks():
            block.ada_gss.data[:, :, :2] = 1.0
            for linear in (block.sa.proj, block.ca.proj, block.ffn.fc2):
                nn.init.zeros_(linear.weight)

    def condition(self, features, lengths, drop):
        """features: B x T x text width. drop: B bools; True puts the learned empty prompt in the text's place."""
        tokens = features.shape[1]
        features = torch.where(drop.view(-1, 1, 1), self.cfg_uncond[:tokens].unsqueeze(0).to(features.dtype), features)
        mask, features = padding(lengths, tokens), self.text_norm(features)
        start = self.text_proj_for_sos.ca(None, features, mask).squeeze(1).float()
        return start, self.text_proj_for_ca(features), mask

    def modulation(self, start):
        return self.shared_ada_lin(start).float().view(-1, 1, 6, self.width)

    def rope(self, start, end):
        return self.cos[start:end], self.sin[start:end]

    def spans(self, scales):
        """The scales' tokens as queries: the small first scales share one masked span, every later one is its own."""
        few = min(5, scales)
        level = self.levels(few)
        mask = torch.zeros(len(level), len(level), device=level.device).masked_fill_(level.view(-1, 1) < level.view(1, -1), float("-inf"))
        return [(0, self.bounds[few], mask)] + [(self.bounds[i], self.bounds[i + 1], None) for i in range(few, scales)]

    def levels(self, scales):
        sides = torch.tensor([h * w for h, w in self.schedule[:scales]], device=self.cos.device)
        return torch.repeat_interleave(torch.arange(scales, device=sides.device), sides)

    def logits(self, x, start):
        scale, shift = self.head_nm.ada_lin(start.float()).view(-1, 1, 2, self.width).unbind(2)
        return self.head(F.layer_norm(x.float(), (self.width,), eps=EPS) * (1 + scale) + shift)

    def forward(self, text, inputs, scales):
        """Teacher forcing. text: of condition(); inputs: B x (tokens - 1) x bits, of the scales after the first -> B x tokens x 2 bits."""
        start, keys, mask = text
        x = torch.cat([start.unsqueeze(1) + self.pos_start, self.word_embed(inputs).float()], 1) + self.lvl_embed(self.levels(scales))
        modulation, rope, spans = self.modulation(start), self.rope(0, self.bounds[scales]), self.spans(scales)
        for block in self.blocks():
            x = block(x, modulation, keys, mask, rope, spans=spans)
        return self.logits(x, start)
