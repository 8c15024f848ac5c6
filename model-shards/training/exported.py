"""Reading exported models back: a release (config.json and safetensors) or a model folder (manifest.json and shards)."""
import os

import torch

from files import load_json, load_safetensors, read_bytes
from painter import Painter

DTYPES = {"F16": torch.float16, "F32": torch.float32}


def read_words(folder):
    vocabulary = load_json(os.path.join(folder, "tokenizer.json"))["model"]["vocab"]
    return sorted(vocabulary, key=vocabulary.get)


def read_tensors(folder):
    """-> {name in a Painter: float32 tensor}. A model folder has no encoder; only training needs one."""
    manifest = os.path.join(folder, "manifest.json")
    if not os.path.exists(manifest):
        state = {k if k.startswith("text_encoder.") else "model." + k: v for k, v in load_safetensors(os.path.join(folder, "transformer.safetensors")).items()}
        vae = load_safetensors(os.path.join(folder, "vae.safetensors"))
        state.update({"tokenizer." + k: v for k, v in vae.items() if k.startswith(("encoder.", "decoder."))})
        return {k: v.float() for k, v in state.items()}
    model, state = load_json(manifest), {}
    shards = [read_bytes(os.path.join(folder, shard["file"])) for shard in model["shards"]]
    for t in model["tensors"]:
        if t["dtype"] not in DTYPES:
            raise SystemExit(f"{folder} stores {t['name']} as {t['dtype']}; only F16 and F32 models can be read back.")
        raw = bytearray(shards[t["shard"]][t["offset"] : t["offset"] + t["bytes"]])
        name = t["name"].replace("vae.", "tokenizer.", 1) if t["name"].startswith("vae.") else t["name"].replace("transformer.", "model.", 1)
        state[name] = torch.frombuffer(raw, dtype=DTYPES[t["dtype"]]).view(t["shape"]).float()
    return state


def read_encoder(tokenizer, config):
    """The `encoder` of a config: the half of the tokenizer that a model folder leaves out."""
    tokenizer.encoder.load_state_dict({k: v.float() for k, v in load_safetensors(config["encoder"]).items()})


def count_scales(folder):
    """Of the pictures that a model was trained on."""
    manifest = os.path.join(folder, "manifest.json")
    if not os.path.exists(manifest):
        return len(load_json(os.path.join(folder, "config.json"))["transformer"]["scale_schedule"])
    return max(len(schedule["grids"]) for schedule in load_json(manifest)["schedules"].values())


def read_weights(painter, folder):
    """Takes a model's weights, and the vectors of the words that both know: the captions' vocabulary may differ. Scales that the model
    was not trained on begin as its last one."""
    state, words = read_tensors(folder), read_words(folder)
    table = painter.text_encoder.tok_embed.weight.detach().clone()
    known = {word: row for row, word in enumerate(words)}
    for row, word in enumerate(painter.words.words):
        if word in known:
            table[row] = state["text_encoder.tok_embed.weight"][known[word]]
    state["text_encoder.tok_embed.weight"] = table
    known, levels = count_scales(folder), state["model.lvl_embed.weight"]
    levels[known : len(painter.model.schedule)] = levels[known - 1]
    missing, unexpected = painter.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith("zero_k_bias") and not name.startswith("tokenizer.encoder.")]
    if missing or unexpected:
        raise SystemExit(f"{folder} is not a model of this config: it lacks {missing[:3]}, and has {unexpected[:3]} besides.")


def open_model(config, folder):
    painter = Painter(config, read_words(folder))
    read_weights(painter, folder)
    return painter.eval().requires_grad_(False)
