"""Writes a trained model as a release: transformer.safetensors, vae.safetensors, tokenizer.json, config.json, a sheet of samples, the encoder.

    python3 export.py emoji-128.json --out work/emoji-128/release
    npx firstlight import work/emoji-128/release --out work/emoji-128/model
"""
import argparse
import os

import torch

from config import load_config
from exported import open_model, read_encoder
from files import save_json, save_safetensors, write_sheet
from painter import Painter, grids
from sources import open_source
from text import END, PAD, UNKNOWN
from transformer import EPS, REACH, ROPE_BASE


def described(config, words, trained):
    """config.json in the field names of Infinity's code; what the importer and other engines read."""
    t, v, schedule = config["transformer"], config["tokenizer"], [list(grid) for grid in grids(config)]
    text = dict(t["text"], max_len=t["text"]["max_tokens"], kind="word-transformer", vocab_size=len(words), pad_id=PAD, unk_id=UNKNOWN, eos_id=END,
                norm="pre-LayerNorm eps 1e-5", activation="gelu_tanh", attention="full, padding masked, scale head_dim^-0.5")
    return dict(
        name=config["name"], architecture="infinity", image_size=[config["side"]] * 2,
        vae=dict(base_ch=v["base"], ch_mult=v["multipliers"], num_res_blocks=v["blocks"], codebook_dim=v["bits"], norm_groups=v["groups"],
                 patch_size=2 ** (len(v["multipliers"]) - 1), scale_schedule=schedule, output_range=[-1, 1]),
        transformer=dict(codebook_dim=v["bits"], scale_schedule=schedule, depth=t["depth"], embed_dim=t["width"], num_heads=t["heads"], block_chunks=t["chunks"],
                         mlp_ratio=4.0, norm_eps=EPS, text_channels=t["text"]["width"], text_maxlen=t["text"]["max_tokens"], text_encoder=text,
                         shared_aln=True, head_aln=True, cos_attn=True, use_bit_label=True, add_lvl_embeding_only_first_block=1, rope2d_each_sa_layer=1,
                         rope2d_normalized_by_hw=2, rope2d_reach=REACH, rope_base=ROPE_BASE, apply_spatial_patchify=0),
        sampling=dict(cfg=config["sampling"]["guidance"], tau=config["sampling"]["tau"], top_p=0.0, top_k=0), training=trained)


def trained_painter(a, config):
    """The averaged weights of the checkpoints, or a model folder's."""
    if a.model:
        painter = open_model(config, a.model)
        read_encoder(painter.tokenizer, config)
        return painter, {}
    saved = torch.load(os.path.join(a.work, "transformer.pt"), map_location="cpu")
    source = open_source(config, 0, "cpu")
    painter = Painter(config, source.words())
    painter.load_state_dict({**saved["painter"], **saved["average"]})
    return painter.eval(), dict(transformer_steps=saved["step"])


def write_release(config, painter, out, trained):
    half = {name: tensor.half() for name, tensor in painter.state_dict().items()}
    part = lambda prefix: {name[len(prefix) :]: tensor for name, tensor in half.items() if name.startswith(prefix)}
    os.makedirs(out, exist_ok=True)
    text = {"text_encoder." + name: tensor for name, tensor in part("text_encoder.").items()}
    save_safetensors(os.path.join(out, "transformer.safetensors"), {**part("model."), **text})
    save_safetensors(os.path.join(out, "vae.safetensors"), part("tokenizer."))
    save_safetensors(os.path.join(out, "encoder.safetensors"), part("tokenizer.encoder."))
    save_json(os.path.join(out, "tokenizer.json"), painter.words.json())
    save_json(os.path.join(out, "config.json"), described(config, painter.words.words, trained))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("config")
    p.add_argument("--work", default="", help="folder of the checkpoints; default work/<name>")
    p.add_argument("--model", default="", help="model folder to write as a release in place of the checkpoints")
    p.add_argument("--out", required=True)
    a = p.parse_args()
    config = load_config(a.config)
    a.work = a.work or "work/" + config["name"]
    painter, trained = trained_painter(a, config)
    write_release(config, painter, a.out, trained)
    stored = open_model(config, a.out)                     # what a reader of the release gets
    prompts = config["prompts"]
    images = stored.paint(prompts, range(len(prompts)))
    write_sheet(os.path.join(a.out, "samples.png"), images, 6)
    print(f"{a.out}: {sum(t.numel() for t in painter.state_dict().values()) / 1e6:.2f} M parameters, {len(prompts)} samples")


if __name__ == "__main__":
    main()
