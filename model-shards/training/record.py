"""Records tensors of a release in the reference format (format 1), so that an engine can be verified on it.

    python3 record.py emoji-128.json work/emoji-128/release --out work/emoji-128/reference

Everything is computed in float32 on the stored half-precision weights. Bits are the likelier ones; of many prompts those are kept whose
closest decision is clearest, so that rounding cannot turn a bit.
"""
import argparse
import os

import torch

from config import load_config
from exported import open_model
from files import load_json, save_json, save_safetensors

BOUNDS = [  # (which names, the bound that a comparison keeps)
    (lambda n: n == "text.ids", dict(role="input")),
    (lambda n: n.endswith(".bits"), dict(role="output", exact=True)),
    (lambda n: n.startswith("image"), dict(role="output", abs=2e-3, mean=1e-4)),
    (lambda n: "logits" in n, dict(role="output", abs=3e-3, rel=3e-4)),
    (lambda n: n.startswith("rope."), dict(role="output", abs=2e-5)),
    (lambda n: "summed_codes" in n or n.endswith("word_embed_in"), dict(role="output", abs=1e-4, rel=1e-4)),
    (lambda n: True, dict(role="output", abs=3e-4, rel=3e-4)),
]
EVERY_SCALE = ("bits", "logits_post", "summed_codes", "word_embed_in")


class Recorder:
    """Keeps bits, latents and logits of every scale, and the blocks of the scales in `inside`."""

    def __init__(self, painter, inside):
        self.painter, self.inside, self.kept, self.margins = painter, inside, {}, []
        self.last = len(painter.model.blocks()) - 1

    def __call__(self, name, value):
        if name == "start":
            start, keys, modulation = value
            self.kept.update({"text.sos": start, "text.kv_proj": keys.flatten(0, 1), "text.shared_gss": modulation})
            return
        scale, part = int(name[1 : name.index(".")]), name[name.index(".") + 1 :]
        if part == "logits_post":
            self.margins.append((value[..., 1] - value[..., 0]).abs().min().item())
        if part == "caches":
            if scale in self.inside and scale > 1:
                for key in "kv":
                    self.kept[f"s{scale}.blk{self.last}.{key}_cache"] = value[-1][key]
        elif part == "bits":
            self.kept[name] = value[0].int()
        elif part == "summed_codes":
            self.kept[name] = value[0].clone()
        elif part in EVERY_SCALE or scale in self.inside:
            self.kept[name] = value


def record(painter, prompt, guidance, tau, inside):
    """-> (tensors, smallest distance of two logits by scale)."""
    model, recorder = painter.model, Recorder(painter, inside)
    ids, lengths = painter.words.batch([prompt])
    kept, hooks, calls = recorder.kept, [], {}

    def watch(module, name):
        hooks.append(module.register_forward_hook(lambda m, i, out: calls.setdefault(name, []).append(out)))

    watch(model.text_norm, "norm")
    for part in ("sa", "ca", "ffn"):
        watch(getattr(model.blocks()[0], part), part)
    latent = painter.latents([prompt], None, guidance, tau, recorder)
    for hook in hooks:
        hook.remove()
    kept["text.ids"], kept["text.feats"] = ids[0].int(), painter.text_encoder(ids, lengths)[0]
    kept["text.norm_out"], kept["rope.cache"] = calls["norm"][0].flatten(0, 1), torch.stack([model.cos, model.sin])
    for scale in inside:
        for part in ("sa", "ca", "ffn"):
            kept[f"s{scale}.blk0.{part}_out"] = calls[part][scale]
    kept["summed_codes_final"] = latent[0]
    kept["image_every2"] = ((painter.tokenizer.decoder(latent).clamp(-1, 1) + 1) / 2)[0][:, ::2, ::2]
    return kept, recorder.margins


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("config")
    p.add_argument("release")
    p.add_argument("--out", required=True)
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--inside", type=int, nargs="*", default=[1, 4], help="scales whose blocks the first run keeps; the others keep scale 1's")
    a = p.parse_args()
    config, described = load_config(a.config), load_json(os.path.join(a.release, "config.json"))
    painter = open_model(config, a.release)
    guidance, tau, scales = config["sampling"]["guidance"], 0.5, len(config["scales"])
    ranked = sorted(((min(record(painter, prompt, guidance, tau, ())[1]), prompt) for prompt in config["record"]), reverse=True)
    os.makedirs(a.out, exist_ok=True)
    runs, kinds = {}, {torch.float32: "F32", torch.int32: "I32"}
    for i, (margin, prompt) in enumerate(ranked[: a.runs]):
        kept, margins = record(painter, prompt, guidance, tau, [min(scale, scales - 1) for scale in a.inside] if i == 0 else (1,))
        name = prompt.replace("a photo of ", "").replace(" ", "-")
        file = f"golden.{name}.safetensors"
        save_safetensors(os.path.join(a.out, file), kept)
        recorded = {n: dict(dtype=kinds[t.dtype], shape=list(t.shape), **next(bound for which, bound in BOUNDS if which(n))) for n, t in sorted(kept.items())}
        runs[name] = dict(file=file, prompt=prompt, h_div_w_template=1.0, scale_schedule=[[1, h, w] for h, w in painter.model.schedule], text_len=len(kept["text.ids"]),
                          cfg=guidance, tau=tau, top_k=1, top_p=0, cfg_insertion_layer=[0], min_bit_margin_per_scale=margins,
                          inputs={"text.ids": dict(file=file, tensor="text.ids")}, recorded=recorded)
        print(f"{prompt}: smallest bit margin {margin:.4f}")
    t, v = described["transformer"], described["vae"]
    save_json(os.path.join(a.out, "manifest.json"), dict(
        format=1, kind="infinity", config=dict(t, vae_type=v["codebook_dim"]),
        vae_config=dict(v, encoder_ch_mult=v["ch_mult"], decoder_ch_mult=v["ch_mult"]),
        weights_file="../release/transformer.safetensors", vae_file="../release/vae.safetensors", tokenizer_file="../release/tokenizer.json",
        note="weights are stored as F16 and were widened to F32; text.ids is what the tokenizer gives for the run's prompt", runs=runs))


if __name__ == "__main__":
    main()
