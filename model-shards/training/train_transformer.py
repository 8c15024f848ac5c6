"""Trains the text encoder and the transformer on the tokens of a trained tokenizer.

    python3 train_transformer.py emoji-128.json          (run again until it says it is done)
    python3 train_transformer.py emoji-128.json --from ../models/emoji-128          starts from a model's weights, which may
                                                                                    know fewer scales than the config has

Pictures are encoded into a pool that is renewed all the time. Many steps use only the first scales: they settle what a picture shows
and where, and are cheap. Bits of the context are flipped at random, so the model sees, and learns to correct, its own kind of mistakes.
"""
import os
import random

import torch
import torch.nn.functional as F

from exported import read_encoder, read_weights
from files import save_checkpoint, write_sheet
from muon import Muon
from painter import Painter
from slots import Average, Slot, arguments, autocast, ramp, rate
from sources import open_source


class Pool:
    """Encoded pictures and their captions, a ring. Before step s it holds the pictures up to number `size + fresh * s`, so a resumed
    training goes on with the same ones."""

    def __init__(self, source, encode, train, step):
        self.source, self.encode, self.train = source, encode, train
        self.rows, self.captions = [None] * train["pool"], [""] * train["pool"]
        self.next = int(train["fresh"] * step)
        self.grow(step)

    @torch.no_grad()
    def grow(self, step):
        end = len(self.rows) + int(self.train["fresh"] * step)
        while end - self.next >= min(16, len(self.rows)):
            numbers = range(self.next, min(self.next + 32, end))
            images, captions = self.source.pictures(numbers, max(0.0, (numbers[0] - len(self.rows)) / (self.train["fresh"] * self.train["steps"])))
            for number, row, caption in zip(numbers, self.encode(images).half(), captions):
                self.rows[number % len(self.rows)], self.captions[number % len(self.rows)] = row, caption
            self.next = numbers[-1] + 1

    def pick(self, rng, count):
        chosen = [rng.randrange(len(self.rows)) for _ in range(count)]
        return torch.stack([self.rows[i] for i in chosen]).float(), [self.captions[i] for i in chosen]


def bit_loss(logits, labels, token_weight):
    """Binary cross-entropy, -> (weighted loss, mean of every token). logits: B x tokens x 2 bits; labels: B x tokens x bits."""
    pair = logits.float().view(*labels.shape, 2)
    each = F.binary_cross_entropy_with_logits(pair[..., 1] - pair[..., 0], labels.float(), reduction="none").mean((0, 2))
    return (each * token_weight[: len(each)]).sum() / token_weight.sum(), each


def optimizers(painter, train):
    """Muon for the weight matrices of the blocks, AdamW for the rest; with their full rates."""
    parts = [(n, w) for n, w in painter.named_parameters() if not n.startswith("tokenizer.")]
    matrix = lambda name, w: w.ndim == 2 and any(part in name for part in ("block_chunks", "text_encoder.layers", "text_proj_for_ca"))
    others = [w for n, w in parts if not matrix(n, w)]
    return [(Muon([w for n, w in parts if matrix(n, w)], train["muon"]), train["muon"]),
            (torch.optim.AdamW(others, train["adam"], betas=(0.9, 0.95), weight_decay=0.0), train["adam"])], others


def trained_tokenizer(painter, config, work, origin):
    """The tokenizer of train_tokenizer.py; or that of --from, with the `encoder` of the config where a model folder has none."""
    path = os.path.join(work, "tokenizer.pt")
    if os.path.exists(path):
        saved = torch.load(path, map_location="cpu")
        painter.tokenizer.load_state_dict({**saved["tokenizer"], **saved["average"]})
    elif "encoder" in config:
        read_encoder(painter.tokenizer, config)
    elif not origin or os.path.exists(os.path.join(origin, "manifest.json")):
        raise SystemExit(f"There is no {path}: run train_tokenizer.py first.")


def main():
    a, config = arguments(__doc__, ("--from", dict(dest="origin", default="", help="model folder whose weights a first slot starts from")))
    device, train, path = a.device, config["transformer"]["train"], os.path.join(a.work, "transformer.pt")
    source = open_source(config, train["seed"], device)
    torch.manual_seed(train["seed"])
    painter = Painter(config, source.words())
    if a.origin:
        read_weights(painter, a.origin)
    trained_tokenizer(painter, config, a.work, a.origin)
    painter.tokenizer.requires_grad_(False)
    painter.to(device)
    rules, others = optimizers(painter, train)
    average, step = Average(painter, train["average"], fixed="tokenizer."), 0
    if os.path.exists(path):
        saved = torch.load(path, map_location=device)
        painter.load_state_dict(saved["painter"])
        for (rule, _), state in zip(rules, saved["rules"]):
            rule.load_state_dict(state)
        average.state, average.steps, step = {k: v.float() for k, v in saved["average"].items()}, saved["step"], saved["step"]
    model, tokenizer = painter.model, painter.tokenizer
    scales, sides = len(model.schedule), [h for h, _ in model.schedule]
    # a scale weighs as much as its side is long: by their tokens alone the fine scales would drown the coarse ones
    token_weight = torch.cat([torch.full((side * side,), 1 / side) for side in sides]).to(device)

    def encode(images):
        with autocast(device):
            return tokenizer.encoder(images)

    def save():
        save_checkpoint(path, dict(painter=painter.state_dict(), average=average.state, rules=[rule.state_dict() for rule, _ in rules], step=step))

    def show():
        state = {k: v.clone() for k, v in painter.state_dict().items()}
        painter.load_state_dict(average.full(painter))
        with autocast(device):
            images = painter.paint(config["prompts"], range(len(config["prompts"])))
        painter.load_state_dict(state)
        write_sheet(os.path.join(a.work, f"transformer-{step:06d}.png"), images, 6)

    pool, slot, recent = Pool(source, encode, train, step), Slot(a.slot, step, train["steps"]), [None] * scales
    while not slot.over(step):
        rng, progress = random.Random(f"{train['seed']}/{step}"), step / train["steps"]
        torch.manual_seed(rng.getrandbits(32))
        pool.grow(step)
        prefix = rng.choices(train["prefixes"], [ramp(p["share"], progress) for p in train["prefixes"]])[0]
        use = prefix["scales"]
        h, captions = pool.pick(rng, prefix["batch"])
        flip = torch.rand(len(h), 1, 1, 1, device=device) * train["flip"]
        _, labels, inputs = tokenizer.quantize(h, flip=flip, stop=use)
        labels, inputs = (torch.cat([t.flatten(2) for t in ts], 2).transpose(1, 2) for ts in (labels, inputs[: use - 1]))
        for rule, full in rules:
            rule.zero_grad(set_to_none=True)
            for group in rule.param_groups:
                group["lr"] = full * rate(step, train)
        with autocast(device):
            logits = model(painter.condition(captions, torch.rand(len(h), device=device) < train["drop"]), inputs, use)
        loss, each = bit_loss(logits, labels, token_weight)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        for rule, _ in rules:
            rule.step()
        average.update(painter)
        step += 1
        if step % 5 == 0:
            for scale, (start, end) in enumerate(zip(model.bounds[:use], model.bounds[1:])):
                value = each[start:end].mean().item()
                recent[scale] = value if recent[scale] is None else 0.9 * recent[scale] + 0.1 * value
        slot.show(step, "bits " + " ".join("-" if r is None else f"{r:.3f}" for r in recent))
        if step % train["save"] == 0:
            save()
            show()
    save()
    if step >= train["steps"]:
        show()
    print("done" if step >= train["steps"] else "slot over; run again to go on")


if __name__ == "__main__":
    main()
