"""The picture tokenizers' decoders, and VAR's codes, by their formulas, in f64."""

import numpy as np
import torch
import torch.nn.functional as F

from weights import Weights


def groups_of(width: int) -> int:
    return 24 if width % 32 != 0 and width % 24 == 0 else 32


class Decoder:
    """`attentive`: VAR's, with attention in its coarsest level; else Infinity's, whose modules are wrapped."""

    def __init__(self, w: Weights, ch: int, mult: list[int], blocks: int, attentive: bool, kernel: int = 3) -> None:
        self.w, self.ch, self.mult, self.blocks, self.attentive, self.kernel = w, ch, mult, blocks, attentive, kernel

    def conv(self, name: str, x: torch.Tensor, n: int, side: int = 3) -> torch.Tensor:
        return self.w.conv(name if self.attentive else f"{name}.conv", x, n, side)

    def norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        c = x.shape[1]
        own = name if self.attentive else f"{name}.norm"
        weight, bias = self.w(f"{own}.weight", c, std=0.1, shift=1.0), self.w(f"{own}.bias", c, std=0.1)
        return F.group_norm(x, 32 if self.attentive else groups_of(c), weight, bias, 1e-6)

    def residual(self, name: str, x: torch.Tensor, n: int) -> torch.Tensor:
        h = self.conv(f"{name}.conv1", F.silu(self.norm(f"{name}.norm1", x)), n)
        h = self.conv(f"{name}.conv2", F.silu(self.norm(f"{name}.norm2", h)), n)
        return h + (x if x.shape[1] == n else self.conv(f"{name}.nin_shortcut", x, n, 1))

    def attention(self, name: str, x: torch.Tensor) -> torch.Tensor:
        b, c, h, w = x.shape
        q, k, v = self.conv(f"{name}.qkv", self.norm(f"{name}.norm", x), 3 * c, 1).flatten(2).transpose(1, 2).chunk(3, -1)
        read = ((q @ k.transpose(1, 2) * c**-0.5).softmax(-1) @ v).transpose(1, 2).reshape(b, c, h, w)
        return x + self.conv(f"{name}.proj_out", read, c, 1)

    def __call__(self, latent: torch.Tensor, taps: dict | None = None) -> torch.Tensor:
        """[b, c, h, w] -> pictures [b, 3, .., ..] in [0, 1]."""
        taps = {} if taps is None else taps
        last = len(self.mult) - 1
        x = latent
        if self.attentive:
            x = taps["post_quant"] = self.conv("post_quant_conv", x, x.shape[1], self.kernel)
        width = self.ch * self.mult[last]
        x = self.conv("decoder.conv_in", x, width)
        x = taps["mid1"] = self.residual("decoder.mid.block_1", x, width)
        if self.attentive:
            x = taps["mid_attn"] = self.attention("decoder.mid.attn_1", x)
        x = self.residual("decoder.mid.block_2", x, width)
        for level in range(last, -1, -1):
            for block in range(self.blocks + 1):
                x = self.residual(f"decoder.up.{level}.block.{block}", x, self.ch * self.mult[level])
                if self.attentive and level == last:
                    x = self.attention(f"decoder.up.{level}.attn.{block}", x)
            if level > 0:
                x = self.conv(f"decoder.up.{level}.upsample.conv", F.interpolate(x, scale_factor=2.0), x.shape[1])
        x = self.conv("decoder.conv_out", F.silu(self.norm("decoder.norm_out", x)), 3)
        taps["image"] = (x.clamp(-1, 1) + 1) / 2
        return taps["image"]


def codes_decoder(w: Weights, v: dict) -> Decoder:
    """Of the tokenizer that VAR, STAR and HART share."""
    return Decoder(w, v["ch"], v["dec_ch_mult"], v["num_res_blocks"], True, v["quant_conv_ks"])


class Codes:
    """VAR's: a vocabulary, and what a map of its codes adds to the latent."""

    def __init__(self, w: Weights, v: dict, scales: int) -> None:
        self.w, self.v = w, v
        shared = v["share_quant_resi"]
        self.count = 1 if shared == 1 else shared or (v["default_qresi_counts"] or len(v["v_patch_nums"]))
        self.ratio = abs(v["quant_resi"])
        self.scales = scales
        if self.ratio > 1e-6:  # A module has all of its convolutions, used or not.
            for phi in range(self.count):
                self.convolve(phi, torch.zeros(1, v["Cvae"], 1, 1, dtype=torch.float64))

    def embed(self, codes: torch.Tensor) -> torch.Tensor:
        """[b, tokens] -> [b, tokens, channels]."""
        return self.w("quantize.embedding.weight", self.v["V"], self.v["Cvae"], std=0.7)[codes]

    def convolve(self, phi: int, h: torch.Tensor) -> torch.Tensor:
        name = {0: f"{phi}", 1: "qresi"}.get(self.v["share_quant_resi"], f"qresi_ls.{phi}")
        return self.w.conv(f"quantize.quant_resi.{name}", h, h.shape[1])

    def phi(self, scale: int, h: torch.Tensor) -> torch.Tensor:
        if self.ratio <= 1e-6:
            return h
        k = self.count
        ends = 1 / 3 / k if k == 4 else 1 / 2 / k
        ticks = np.linspace(ends, 1 - ends, k)
        nearest = 0 if self.v["share_quant_resi"] == 1 else int(np.argmin(np.abs(ticks - scale / (self.scales - 1))))
        return h * (1 - self.ratio) + self.convolve(nearest, h) * self.ratio

    def add(self, f_hat: torch.Tensor, scale: int, codes: torch.Tensor, side: int) -> torch.Tensor:
        b, c, size, _ = f_hat.shape
        h = self.embed(codes).transpose(1, 2).reshape(b, c, side, side)
        if scale < self.scales - 1:
            h = F.interpolate(h, size=(size, size), mode="bicubic")
        return f_hat + self.phi(scale, h)
