"""Weights that follow from a seed and a tensor's name, by whole numbers alone: drawn.ts makes the same ones."""

import math

import numpy as np
import torch

NORMAL = math.sqrt(12.0)


def key_of(seed: int, name: str) -> int:
    """FNV-1a over the name's bytes, begun with the seed."""
    value = (0x811C9DC5 ^ seed) & 0xFFFFFFFF
    for byte in name.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def uniform(key: int, count: int) -> np.ndarray:
    """Numbers in [0, 1): MurmurHash3's finalizer over key + i * golden ratio."""
    x = (np.arange(count, dtype=np.uint64) * 0x9E3779B9 + key) & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = ((x ^ (x >> shift)) * factor) & 0xFFFFFFFF
    return (x ^ (x >> 16)).astype(np.float64) / 2**32


class Weights:
    """Tensors by official name, made when they are first asked for; `list` is what drawn.ts needs to make them again."""

    def __init__(self, seed: int, file: str) -> None:
        self.seed = seed
        self.file = file
        self.made: dict[str, torch.Tensor] = {}
        self.list: list[dict] = []

    def __call__(self, name: str, *shape: int, std: float = 0.0, shift: float = 0.0) -> torch.Tensor:
        if name not in self.made:
            spread = std * NORMAL
            numbers = (uniform(key_of(self.seed, name), math.prod(shape)) - 0.5) * spread + shift
            self.made[name] = torch.from_numpy(numbers.astype(np.float32).astype(np.float64)).reshape(shape)
            self.list.append(
                {"file": self.file, "name": name, "shape": list(shape), "spread": spread, "shift": shift}
            )
        assert self.made[name].shape == shape, name
        return self.made[name]

    def linear(self, name: str, x: torch.Tensor, n: int, gain: float = 1.0, bias: bool = True) -> torch.Tensor:
        """x W^T + b."""
        k = x.shape[-1]
        y = x @ self(f"{name}.weight", n, k, std=gain / math.sqrt(k)).T
        return y + self(f"{name}.bias", n, std=0.1) if bias else y

    def conv(self, name: str, x: torch.Tensor, n: int, side: int = 3) -> torch.Tensor:
        k = x.shape[1]
        weight = self(f"{name}.weight", n, k, side, side, std=1 / math.sqrt(k * side * side))
        return torch.nn.functional.conv2d(x, weight, self(f"{name}.bias", n, std=0.1), padding=side // 2)
