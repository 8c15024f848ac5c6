"""Trains the image tokenizer.

    python3 train_tokenizer.py emoji-128.json          (run again until it says it is done)

It learns on quarter crops first (cheap steps), then on whole pictures. A few bits are flipped at random and sometimes only the first
scales are decoded, which makes the decoder forgiving. With `encoder` in the config, that encoder is kept and only the decoder learns:
tokens, and so a transformer trained on them, stay valid. With a `teacher`, a model of half the side, the tokenizer starts from the
teacher's weights, and its latent, averaged 2 x 2, is held to the teacher's latent of the halved picture: then the coarse scales' tokens
stay those that the teacher's transformer knows, and a larger transformer can start from that one.
"""
import math
import os
import random

import torch
import torch.nn.functional as F

from config import load_config
from exported import open_model, read_encoder
from files import save_checkpoint, write_sheet
from painter import grids
from slots import Average, Slot, arguments, autocast, rate
from sources import open_source
from tokenizer import Tokenizer


def picture_loss(made, wanted):
    """Squared error, and over three resolutions the absolute error of the picture and of its gradients."""
    total = F.mse_loss(made, wanted)
    for _ in range(3):
        total = total + F.l1_loss(made, wanted)
        for axis in (-1, -2):
            total = total + F.l1_loss(made.diff(dim=axis), wanted.diff(dim=axis))
        made, wanted = F.avg_pool2d(made, 2), F.avg_pool2d(wanted, 2)
    return total


def cropped(images, rng):
    """A random quarter of every picture."""
    side = images.shape[-1] // 2
    corners = [(rng.randrange(side + 1), rng.randrange(side + 1)) for _ in images]
    return torch.stack([image[:, y : y + side, x : x + side] for image, (y, x) in zip(images, corners)])


def crop_schedule(schedule):
    """The grids of a picture of half the side: those that fit, and its own last one."""
    last = schedule[-1][0] // 2
    return [grid for grid in schedule if grid[0] < last] + [(last, last)]


class Teacher:
    """A trained tokenizer of half the side. settings: the `teacher` of a config, or None for none."""

    def __init__(self, settings, device):
        self.weight = settings["weight"] if settings else 0.0
        if settings:
            config = load_config(settings["config"])
            self.tokenizer = open_model(config, settings["model"]).tokenizer
            if "encoder" in config:                                                     # a release has its own
                read_encoder(self.tokenizer, config)
            self.tokenizer.requires_grad_(False).to(device)

    def start(self, tokenizer):
        if self.weight:
            tokenizer.load_state_dict(self.tokenizer.state_dict())

    def distance(self, h, images):
        """Mean squared difference of h, averaged 2 x 2, to the teacher's latent of the halved pictures."""
        if not self.weight:
            return h.new_zeros(())
        with torch.no_grad(), autocast(h.device.type):
            wanted = self.tokenizer.encoder(F.avg_pool2d(images, 2))
        return F.mse_loss(F.avg_pool2d(h, 2), wanted.float())


def decibels(made, wanted):
    return -10 * math.log10(F.mse_loss(made, wanted).item() / 4)


def main():
    a, config = arguments(__doc__)
    cfg, device = config["tokenizer"], a.device
    train = cfg["train"]
    source = open_source(config, train["seed"], device)
    tokenizer = Tokenizer(cfg, grids(config)).to(device).to(memory_format=torch.channels_last)
    teacher = Teacher(cfg.get("teacher"), device)
    teacher.start(tokenizer)
    fixed = "encoder" in config
    if fixed:
        read_encoder(tokenizer, config)
        tokenizer.encoder.requires_grad_(False)
    optimizer = torch.optim.AdamW([w for w in tokenizer.parameters() if w.requires_grad], lr=train["rate"], betas=(0.9, 0.95), weight_decay=0.01)
    average, step, path = Average(tokenizer, train["average"]), 0, os.path.join(a.work, "tokenizer.pt")
    if os.path.exists(path):
        saved = torch.load(path, map_location=device)
        tokenizer.load_state_dict(saved["tokenizer"])
        optimizer.load_state_dict(saved["optimizer"])
        average.state, average.steps, step = saved["average"], saved["step"], saved["step"]
    unseen = source.pictures(range(-1, -17, -1))[0]                                 # numbers that training never draws

    def save():
        save_checkpoint(path, dict(tokenizer=tokenizer.state_dict(), average=average.state, optimizer=optimizer.state_dict(), step=step))

    def show():
        state = {k: v.clone() for k, v in tokenizer.state_dict().items()}
        tokenizer.load_state_dict(average.full(tokenizer))
        with torch.no_grad():
            made = tokenizer.round_trip(unseen)
        tokenizer.load_state_dict(state)
        write_sheet(os.path.join(a.work, "tokenizer.png"), torch.cat([unseen[:8], made[:8], unseen[8:], made[8:]]), 8)
        return decibels(made, unseen)

    batch = train["batch"] if isinstance(train["batch"], dict) else dict(crop=train["batch"], whole=train["batch"])
    slot, recent = Slot(a.slot, step, train["steps"]), None
    while not slot.over(step):
        rng, crops = random.Random(f"{train['seed']}/{step}"), train["crops"]
        torch.manual_seed(rng.getrandbits(32))
        crop = not fixed and rng.random() < crops["share"][step / train["steps"] >= crops["until"]]
        count = batch["crop" if crop else "whole"]
        first = step * max(batch.values())
        images, schedule = source.pictures(range(first, first + count))[0], tokenizer.schedule
        if crop:
            images, schedule = cropped(images, rng), crop_schedule(schedule)
        images = images.contiguous(memory_format=torch.channels_last)
        for group in optimizer.param_groups:
            group["lr"] = train["rate"] * rate(step, train)
        with autocast(device), torch.set_grad_enabled(not fixed):
            h = tokenizer.encoder(images)
        h = h.float()
        flip = torch.rand(count, 1, 1, 1, device=device) * train["flip"] * (torch.rand(count, 1, 1, 1, device=device) < 0.5)
        stop = len(schedule) - rng.choice([1, 2, 3]) if rng.random() < 0.1 else None
        latent = tokenizer.quantize(h, schedule, flip, stop)[0]
        with autocast(device):
            made = tokenizer.decoder(h + (latent - h).detach())                          # straight through the quantizer
        losses = torch.stack([picture_loss(made.float(), images), F.mse_loss(h, latent), teacher.distance(h, images)])
        optimizer.zero_grad(set_to_none=True)
        (losses[0] + (0 if fixed else train["commit"]) * losses[1] + teacher.weight * losses[2]).backward()
        torch.nn.utils.clip_grad_norm_(tokenizer.parameters(), 1.0)
        optimizer.step()
        average.update(tokenizer)
        step += 1
        recent = losses.detach() if recent is None else recent.lerp(losses.detach(), 0.03)
        slot.show(step, "picture {:.3f} commit {:.3f} teacher {:.4f}".format(*recent.tolist()))
        if step % train["save"] == 0:
            save()
            print(f"\n{show():.2f} dB on pictures not trained on", flush=True)
    save()
    print(f"{'done' if step >= train['steps'] else 'slot over; run again to go on'}: {show():.2f} dB on pictures not trained on")


if __name__ == "__main__":
    main()
