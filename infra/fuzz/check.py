"""
Holds this second implementation to recordings of the official code, by their own weights and inputs:

    python3 infra/fuzz/check.py test/reference/var-tiny test/reference/infinity-tiny
"""

import json
import os
import struct
import sys

import numpy as np
import torch

import hart
import infinity
import star
import var
from weights import Weights

FAMILIES = {"var": var, "star": star, "hart": hart, "infinity": infinity}
# What official classes take arguments for that a recording leaves out.
VQ = {"quant_resi": 0.5, "default_qresi_counts": 0, "quant_conv_ks": 3}
DEFAULTS = {
    "var": {"norm_eps": 1e-6},
    "star": {"norm_eps": 1e-6},
    "hart": {},
    "infinity": {
        "mlp_ratio": 4, "rms_norm": False, "head_aln": True, "head_depth": 1, "tau": 1, "swiglu": False,
        "cross_attn_layer_scale": -1.0,
    },
}  # fmt: skip
REACH = {1.0: (64, 64), 2.0: (90, 45), 1.5: (78, 52)}


def read_safetensors(path: str) -> dict[str, np.ndarray]:
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    types = {"F32": np.float32, "I32": np.int32}
    at = 8 + length
    return {
        name: np.frombuffer(data[at + begin : at + end], types[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in header.items()
        for begin, end in [entry["data_offsets"]]
    }


class Given(Weights):
    """Weights from a file in place of drawn ones."""

    def __init__(self, path: str) -> None:
        super().__init__(0, path)
        self.made = {name: torch.from_numpy(values.astype(np.float64)) for name, values in read_safetensors(path).items()}

    def __call__(self, name: str, *shape: int, std: float = 0.0, shift: float = 0.0) -> torch.Tensor:
        found = self.made.get(name)
        if found is None:
            raise SystemExit(f"{self.file} has no {name}.")
        return found.reshape(shape)


def differences(folder: str) -> list[str]:
    with open(os.path.join(folder, "manifest.json")) as file:
        manifest = json.load(file)
    kind = manifest["kind"]
    config = {**DEFAULTS[kind], **manifest["config"]}
    v = {**VQ, **manifest["vae_config"]}
    v["v_patch_nums"] = v.get("v_patch_nums", v.get("patch_nums"))
    w, vae = (Given(os.path.join(folder, manifest[f"{part}_file"])) for part in ("weights", "vae"))
    wrong = []
    for name, settings in manifest["runs"].items():
        golden = read_safetensors(os.path.join(folder, settings["file"]))
        whole = {**manifest, **manifest.get("inference", {}), **settings}
        given = {}
        for key, at in settings["inputs"].items():
            values = read_safetensors(os.path.join(folder, at["file"]))[at["tensor"]]
            given[key] = torch.from_numpy(values.astype(np.int64 if values.dtype == np.int32 else np.float64))
        latent = next((tensor for key, tensor in given.items() if key.startswith("dec.")), None)
        run = {
            "cfg": whole["cfg"],
            "tau": whole.get("tau", 1),
            "scale_schedule": whole["scale_schedule"],
            "reach": REACH.get(whole.get("h_div_w_template")),
            "labels": given["labels"].tolist() if "labels" in given else [],
            "latent": latent if latent is not None else torch.zeros(1, v.get("Cvae", 1), 2, 2, dtype=torch.float64),
            "draws": {key: tensor for key, tensor in given.items() if key not in ("labels", "text.ids")},
        }
        made = FAMILIES[kind].record(config, v, run, w, vae).tensors
        compared = 0
        for key, entry in settings["recorded"].items():
            if entry["role"] != "output" or key not in made or made[key].size != golden[key].size:
                continue
            compared += 1
            error = np.abs(made[key].reshape(-1).astype(np.float64) - golden[key].reshape(-1)).max(initial=0)
            most = np.abs(golden[key]).max(initial=0)
            if error > max(entry.get("abs", 0), entry.get("rel", 0) * most):
                wrong.append(f"{folder} {name}: {key} is off by {error:.2e}")
        print(f"{folder} {name}: {compared} of {len(settings['recorded'])} tensors compared", flush=True)
    return wrong


def main() -> None:
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    wrong = [line for folder in sys.argv[1:] for line in differences(folder)]
    print("\n".join(wrong) or "All are within their bounds.")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
