"""A whole text-to-image model: words, text encoder, transformer and tokenizer; and how it samples."""
import torch
import torch.nn as nn

from text import TextEncoder, Words
from tokenizer import Tokenizer, resize
from transformer import NextScale


def grids(config):
    return [(side, side) for side in config["scales"]]


class Painter(nn.Module):
    def __init__(self, config, words):
        super().__init__()
        cfg, bits = config["transformer"], config["tokenizer"]["bits"]
        self.config, self.words = config, Words(words, cfg["text"]["max_tokens"])
        self.text_encoder = TextEncoder(len(words), cfg["text"])
        self.model = NextScale(cfg, bits, grids(config))
        self.tokenizer = Tokenizer(config["tokenizer"], grids(config))

    def condition(self, captions, drop):
        ids, lengths = (t.to(self.model.cos.device) for t in self.words.batch(captions))
        return self.model.condition(self.text_encoder(ids, lengths), lengths, drop)

    @torch.no_grad()
    def latents(self, captions, seeds, guidance, tau, tap=None):
        """Samples one picture a caption, with and without the text side by side (classifier-free guidance); every picture has a random
        generator of its own, so that it does not depend on its neighbours. seeds None: the likelier value of every bit.
        tap(name, value) sees what is recorded for reference sets. -> B x bits x H x W."""
        model, rows, device = self.model, len(captions), self.model.cos.device
        tap = tap or (lambda name, value: None)
        start, keys, mask = self.condition(captions + captions, torch.arange(2 * rows, device=device) >= rows)
        modulation, caches = model.modulation(start), [{} for _ in model.blocks()]
        tap("start", (start, keys, modulation))
        generators = None if seeds is None else [torch.Generator().manual_seed(seed) for seed in seeds]
        x, latent = start.unsqueeze(1) + model.pos_start, torch.zeros(rows, model.bits, *model.schedule[-1], device=device)
        for scale, (h, w) in enumerate(model.schedule):
            x = x + model.lvl_embed.weight[scale]
            tap(f"s{scale}.block_in", x)
            rope = model.rope(model.bounds[scale], model.bounds[scale + 1])
            for index, (block, cache) in enumerate(zip(model.blocks(), caches)):
                x = block(x, modulation, keys, mask, rope, cache=cache)
                tap(f"s{scale}.blk{index}.out", x)
            tap(f"s{scale}.caches", caches)
            raw = model.logits(x, start).float()
            tap(f"s{scale}.logits_pre", raw)
            pair = ((guidance * raw[:rows] + (1 - guidance) * raw[rows:]) / tau).view(rows, h * w * model.bits, 2)
            tap(f"s{scale}.logits_post", pair)
            margin = pair[..., 1] - pair[..., 0]
            if generators is None:
                bits = margin > 0
            else:
                bits = torch.stack([torch.rand(margin.shape[1], generator=g) for g in generators]).to(device) < torch.sigmoid(margin)
            bits = bits.view(rows, h, w, model.bits)
            tap(f"s{scale}.bits", bits)
            latent = latent + resize(self.tokenizer.codes(bits.permute(0, 3, 1, 2)), model.schedule[-1])
            if scale + 1 < len(model.schedule):
                tap(f"s{scale}.summed_codes", latent)
                inputs = resize(latent, model.schedule[scale + 1]).flatten(2).transpose(1, 2)
                tap(f"s{scale + 1}.word_embed_in", inputs)
                x = model.word_embed(inputs).float().repeat(2, 1, 1)
        return latent

    @torch.no_grad()
    def paint(self, captions, seeds, guidance=None, tau=None):
        """-> B x 3 x side x side in [-1, 1]."""
        sampling = self.config["sampling"]
        latent = self.latents(captions, seeds, guidance or sampling["guidance"], tau or sampling["tau"])
        return self.tokenizer.decoder(latent).float().clamp(-1, 1)
