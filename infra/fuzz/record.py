"""What a run records, and how it is written: a reference set of format 1 whose weights are made from its seed."""

import json
import os
import struct

import numpy as np
import torch

# By the last word of a name; the others are activations.
BOUNDS = {
    "logits": {"abs": 3e-3, "rel": 3e-4},
    "latent": {"abs": 1e-4, "rel": 1e-4},
    "picture": {"abs": 2e-3, "mean": 1e-4},
    "diffusion": {"abs": 1e-3, "rel": 1e-3},
    "table": {"abs": 2e-5},
    "activation": {"abs": 3e-4, "rel": 3e-4},
}


def bound_of(name: str) -> dict:
    if "logits" in name:
        return BOUNDS["logits"]
    if any(word in name for word in ("f_hat", "next_map", "summed_codes", "word_embed_in")):
        return BOUNDS["latent"]
    if name.startswith("diff."):
        return BOUNDS["diffusion"]
    return BOUNDS["table"] if name.startswith("rope.") else BOUNDS["activation"]


class Recording:
    """Tensors by reference name, in order."""

    def __init__(self) -> None:
        self.tensors: dict[str, np.ndarray] = {}
        self.recorded: dict[str, dict] = {}
        self.inputs: dict[str, str] = {}
        self.least = float("inf")

    def _keep(self, name: str, tensor: torch.Tensor, entry: dict) -> torch.Tensor:
        whole = not tensor.is_floating_point()
        self.tensors[name] = tensor.numpy().astype(np.int32 if whole else np.float32)
        self.recorded[name] = {"dtype": "I32" if whole else "F32", "shape": list(tensor.shape), **entry}
        return tensor

    def __call__(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        return self._keep(name, tensor, {"role": "output", **bound_of(name)})

    def given(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        self.inputs[name] = name
        return self._keep(name, tensor, {"role": "input"})

    def exact(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        return self._keep(name, tensor, {"role": "output", "exact": True})

    def picture(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        return self._keep(name, tensor, {"role": "output", **BOUNDS["picture"]})

    def margin(self, least: float) -> None:
        """How far a decision was from another one."""
        self.least = min(self.least, least)

    def only(self, wanted) -> None:
        """Leaves out what is neither given nor chosen nor wanted."""
        for name in list(self.recorded):
            entry = self.recorded[name]
            if entry["role"] == "output" and not entry.get("exact") and not wanted(name, self.tensors[name]):
                del self.recorded[name], self.tensors[name]


def save_safetensors(path: str, tensors: dict[str, np.ndarray]) -> None:
    header, at = {}, 0
    for name, values in tensors.items():
        dtype = "I32" if values.dtype == np.int32 else "F32"
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for values in tensors.values():
            file.write(np.ascontiguousarray(values).tobytes())


def save_set(
    folder: str, kind: str, config: dict, vae_config: dict, run: dict, out: Recording, drawn: list
) -> None:
    os.makedirs(folder, exist_ok=True)
    save_safetensors(os.path.join(folder, "golden.safetensors"), out.tensors)
    settings = {key: value for key, value in run.items() if key not in ("latent", "labels", "draws", "reach")}
    manifest = {
        "format": 1,
        "kind": kind,
        "config": config,
        "vae_config": vae_config,
        "weights_file": "weights.safetensors",
        "vae_file": "vae.safetensors",
        "drawn": drawn,
        "runs": {
            "main": {
                "file": "golden.safetensors",
                "top_k": 1,
                "top_p": 0,
                **settings,
                "inputs": {name: {"file": "golden.safetensors", "tensor": name} for name in out.inputs},
                "recorded": out.recorded,
            }
        },
    }
    with open(os.path.join(folder, "manifest.json"), "w") as file:
        file.write(json.dumps(manifest, separators=(",", ":")) + "\n")
