"""Image tokenizer: convolutions around multi-scale residual binary spherical quantization (BSQ).

Parameter names and arithmetic are those of Infinity's published tokenizer (Han et al. 2024, arXiv 2412.04431), so one engine loads
both; widths, levels and group-norm groups come from the config.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F


class Named(nn.Module):
    """One layer under the name that the checkpoints give it (`conv1.conv.weight`)."""

    def __init__(self, name, layer):
        super().__init__()
        setattr(self, name, layer)
        self.name = name

    def forward(self, x):
        return getattr(self, self.name)(x)


class GroupNorm(nn.GroupNorm):
    def forward(self, x):
        return super().forward(x.float())                # in float32 under autocast too


def conv(cin, cout, kernel=3):
    return Named("conv", nn.Conv2d(cin, cout, kernel, padding=kernel // 2))


def norm(channels, groups):
    return Named("norm", GroupNorm(groups, channels, eps=1e-6))


class Residual(nn.Module):
    def __init__(self, cin, cout, groups):
        super().__init__()
        self.norm1, self.conv1 = norm(cin, groups), conv(cin, cout)
        self.norm2, self.conv2 = norm(cout, groups), conv(cout, cout)
        if cin != cout:
            self.nin_shortcut = conv(cin, cout, 1)

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + h


class Downsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = Named("conv", nn.Conv2d(channels, channels, 3, stride=2))

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))         # zeros on the right and at the bottom only


class Upsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = conv(channels, channels)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


def middle(width, groups):
    mid = nn.Module()
    mid.block_1, mid.block_2 = Residual(width, width, groups), Residual(width, width, groups)
    return mid


class Encoder(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        groups, width = cfg["groups"], cfg["base"]
        self.conv_in, self.down = conv(3, width), nn.ModuleList()
        for level, multiplier in enumerate(cfg["multipliers"]):
            stage = nn.Module()
            stage.block = nn.ModuleList()
            for _ in range(cfg["blocks"]):
                stage.block.append(Residual(width, cfg["base"] * multiplier, groups))
                width = cfg["base"] * multiplier
            if level + 1 < len(cfg["multipliers"]):
                stage.downsample = Downsample(width)
            self.down.append(stage)
        self.mid = middle(width, groups)
        self.norm_out, self.conv_out = norm(width, groups), conv(width, cfg["bits"])

    def forward(self, x):
        h = self.conv_in(x)
        for stage in self.down:
            for block in stage.block:
                h = block(h)
            if hasattr(stage, "downsample"):
                h = stage.downsample(h)
        h = self.mid.block_2(self.mid.block_1(h))
        return self.conv_out(F.silu(self.norm_out(h)))


class Decoder(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        groups, width = cfg["groups"], cfg["base"] * cfg["multipliers"][-1]
        self.conv_in, self.mid = conv(cfg["bits"], width), middle(width, groups)
        stages = []
        for level in reversed(range(len(cfg["multipliers"]))):
            stage = nn.Module()
            stage.block = nn.ModuleList()
            for _ in range(cfg["blocks"] + 1):
                stage.block.append(Residual(width, cfg["base"] * cfg["multipliers"][level], groups))
                width = cfg["base"] * cfg["multipliers"][level]
            if level > 0:
                stage.upsample = Upsample(width)
            stages.insert(0, stage)                      # named by level, finest first
        self.up = nn.ModuleList(stages)
        self.norm_out, self.conv_out = norm(width, groups), conv(width, 3)

    def forward(self, z):
        h = self.mid.block_2(self.mid.block_1(self.conv_in(z)))
        for stage in reversed(self.up):
            for block in stage.block:
                h = block(h)
            if hasattr(stage, "upsample"):
                h = stage.upsample(h)
        return self.conv_out(F.silu(self.norm_out(h)))


def resize(x, grid):
    return x if tuple(x.shape[-2:]) == tuple(grid) else F.interpolate(x, size=grid, mode="bilinear", align_corners=False)


class Tokenizer(nn.Module):
    """cfg: the `tokenizer` part of a config. schedule: the grids [(h, w), ...], coarse to fine."""

    def __init__(self, cfg, schedule):
        super().__init__()
        self.bits, self.schedule = cfg["bits"], [tuple(grid) for grid in schedule]
        self.encoder, self.decoder = Encoder(cfg), Decoder(cfg)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):            # variance-preserving, so plain colours pass from the start
                nn.init.normal_(module.weight, std=(module.in_channels * module.kernel_size[0] ** 2) ** -0.5)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, Residual):
                module.conv2.conv.weight.data.mul_(0.1)

    def codes(self, bits):
        """B x d x h x w bits -> codes of unit length, sign / sqrt(d)."""
        return (bits.float() * 2 - 1) / self.bits**0.5

    @torch.no_grad()
    def quantize(self, h, schedule=None, flip=None, stop=None):
        """h: B x d x H x W of the encoder -> (latent, label bits of every scale, transformer inputs of the scales after the first).

        flip: probability, B x 1 x 1 x 1, that a bit enters the latent flipped; the later scales then see the mistake, and their
        labels correct it (Infinity's bitwise self-correction). stop: number of scales, if not all.
        """
        schedule = schedule or self.schedule
        latent, labels, inputs = torch.zeros_like(h), [], []
        for scale, grid in enumerate(schedule[:stop]):
            rest = h - latent
            bits = (rest if grid == schedule[-1] else F.interpolate(rest, size=grid, mode="area")) > 0
            labels.append(bits)
            if flip is not None:
                bits = bits ^ (torch.rand(bits.shape, device=h.device) < flip)
            latent = latent + resize(self.codes(bits), schedule[-1])
            if scale + 1 < len(schedule):
                inputs.append(resize(latent, schedule[scale + 1]))
        return latent, labels, inputs

    def round_trip(self, images):
        return self.decoder(self.quantize(self.encoder(images).float())[0]).float().clamp(-1, 1)
