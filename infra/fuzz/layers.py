"""What the transformers have in common, by their formulas, in f64."""

import math

import torch
import torch.nn.functional as F

from weights import Weights

LN_100 = math.log(100.0)


def layer_norm(x: torch.Tensor, eps: float) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=eps)


def rms_norm(x: torch.Tensor, eps: float) -> torch.Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


def gelu(x: torch.Tensor) -> torch.Tensor:
    return F.gelu(x, approximate="tanh")


def by_head(x: torch.Tensor, heads: int) -> torch.Tensor:
    """[rows, tokens, width] -> [rows, heads, tokens, head size]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, hidden: torch.Tensor | None = None) -> torch.Tensor:
    """[rows, heads, tokens, head size] -> [rows, tokens, width]; `hidden` is added to the scores."""
    scores = q @ k.transpose(-1, -2) * scale
    return ((scores if hidden is None else scores + hidden).softmax(-1) @ v).transpose(1, 2).flatten(2)


class Scores:
    """How an attention scales its scores: by head, queries and keys normalised, or all alike."""

    def __init__(self, w: Weights, name: str, heads: int, size: int, cosine: bool, plain: float, clamped: bool) -> None:
        self.cosine = cosine
        self.scale = 1.0 if cosine else plain
        if cosine:
            # Some heads lie above the bound on purpose.
            self.mul = w(f"{name}.scale_mul_1H11", 1, heads, 1, 1, std=0.6, shift=LN_100 if clamped else math.log(4.0))

    def normalise(self, q: torch.Tensor, k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.cosine:
            return q, k
        return F.normalize(q, dim=-1) * self.mul.clamp_max(LN_100).exp(), F.normalize(k, dim=-1)


def fused_qkv(w: Weights, name: str, x: torch.Tensor, heads: int, matrix: str = "mat_qkv") -> list[torch.Tensor]:
    """Queries, keys and values by head; keys have no bias."""
    width = x.shape[-1]
    zeros = w(f"{name}.zero_k_bias", width)
    bias = torch.cat([w(f"{name}.q_bias", width, std=0.1), zeros, w(f"{name}.v_bias", width, std=0.1)])
    fused = w.linear(f"{name}.{matrix}", x, 3 * width, bias=False) + bias
    return [by_head(part, heads) for part in fused.chunk(3, -1)]


def fused_kv(w: Weights, name: str, text: torch.Tensor, width: int, heads: int) -> list[torch.Tensor]:
    bias = torch.cat([w(f"{name}.zero_k_bias", width), w(f"{name}.v_bias", width, std=0.1)])
    fused = w.linear(f"{name}.mat_kv", text, 2 * width, bias=False) + bias
    return [by_head(part, heads) for part in fused.chunk(2, -1)]


class Cache:
    """Keys and values of all tokens so far."""

    def __init__(self) -> None:
        self.k: torch.Tensor | None = None
        self.v: torch.Tensor | None = None

    def add(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.k = k if self.k is None else torch.cat([self.k, k], 2)
        self.v = v if self.v is None else torch.cat([self.v, v], 2)
        return self.k, self.v


def rotate_pairs(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Channels 2m and 2m + 1 turn together; cos and sin [tokens, head size / 2]."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


def guided(logits: torch.Tensor, t: float) -> torch.Tensor:
    """(1 + t) c - t u of the two halves of the rows."""
    conditional, unconditional = logits.chunk(2, 0)
    return (1 + t) * conditional - t * unconditional


def margin(values: torch.Tensor) -> float:
    """How far the greatest value of a row is above the next."""
    top = values.topk(2, -1).values
    return (top[..., 0] - top[..., 1]).min().item()
