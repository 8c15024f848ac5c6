"""Trains the judge and writes it as ONNX.

    python3 train_judge.py judge.json          (run again until it says it is done)

It sees free scenes (any object, size and place) and scenes of the prompts' kinds, half of them blurred, noisy or of odd contrast, as
generated pictures can be. It never sees a model's pictures or a tokenizer's, so that it favours none.
"""
import inspect
import math
import os
import random

import torch
import torch.nn.functional as F

from files import save_checkpoint, save_json
from judge import GRID, SIDE, Judge
from scenes import KINDS, VARIETY, background, plan_scene
from slots import Average, Slot, arguments, autocast, rate
from sprites import COLOR_NAMES, OWN, SpriteBank


def free_scene(rng, names):
    count, alike, objects = rng.choice([1, 1, 2, 2, 3, 4]), rng.random() < 0.4, []
    usual = rng.randrange(len(names))
    for _ in range(60):
        if len(objects) == count:
            break
        size = rng.uniform(0.3, 0.8 if count == 1 else 0.5)
        x, y = (rng.uniform(size * 0.42, 1 - size * 0.42) for _ in "xy")
        if all(math.hypot(o["x"] - x, o["y"] - y) >= 0.42 * (o["size"] + size) for o in objects):
            objects.append(dict(name=usual if alike else rng.randrange(len(names)), color=rng.randrange(len(COLOR_NAMES)) if rng.random() < 0.6 else OWN,
                                x=x, y=y, size=size, turn=rng.gauss(0, 0.09), mirror=rng.random() < 0.3))
    return dict(objects=objects, background=background(rng, (0, 0.35), (0.7, 1)))


def targets(scenes, classes):
    """Heat with a Gaussian bump at every centre; colour (-1: nothing there) and log size in the 3 x 3 cells around it."""
    cells = torch.arange(GRID).float()
    heat, color, size = torch.zeros(len(scenes), classes, GRID, GRID), torch.full((len(scenes), GRID, GRID), -1), torch.zeros(len(scenes), 1, GRID, GRID)
    for i, s in enumerate(scenes):
        for o in s["objects"]:
            x, y = (min(GRID - 1, max(0, int(o[k] * GRID))) for k in "xy")
            spread = max(1.0, o["size"] * GRID / 9)
            bump = torch.exp(-((cells.view(1, -1) - x) ** 2 + (cells.view(-1, 1) - y) ** 2) / (2 * spread**2))
            heat[i, o["name"]] = torch.maximum(heat[i, o["name"]], torch.where(bump > 0.01, bump, torch.zeros(())))
            around = (i, slice(max(0, y - 1), y + 2), slice(max(0, x - 1), x + 2))
            color[around] = o["color"] if o["color"] != OWN else len(COLOR_NAMES)
            size[around[0], 0, around[1], around[2]] = math.log(o["size"])
    return heat, color, size


def worn(images, rng):
    if rng.random() < 0.5:
        small = F.interpolate(images, scale_factor=1 / rng.choice([1.5, 2, 2.5]), mode="bilinear", align_corners=False, recompute_scale_factor=True)
        images = F.interpolate(small, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    if rng.random() < 0.5:
        images = images + torch.randn_like(images) * rng.uniform(0, 0.08)
    if rng.random() < 0.5:
        images = images * rng.uniform(0.85, 1.1) + rng.uniform(-0.08, 0.08)
    return images.clamp(-1, 1)


def focal(logits, target):
    p = torch.sigmoid(logits).clamp(1e-5, 1 - 1e-5)
    centre = (target == 1).float()
    loss = centre * (1 - p) ** 2 * p.log() + (1 - centre) * (1 - target) ** 4 * p**2 * (1 - p).log()
    return -loss.sum() / centre.sum().clamp(min=1)


def main():
    a, config = arguments(__doc__)
    train, device = config["train"], a.device
    bank = SpriteBank(config["sprites"], device)
    judge = Judge(bank.names, COLOR_NAMES, config["width"]).to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(judge.parameters(), train["rate"], weight_decay=1e-4)
    average, step, path = Average(judge, train["average"]), 0, os.path.join(a.work, "judge.pt")
    if os.path.exists(path):
        saved = torch.load(path, map_location=device)
        judge.load_state_dict(saved["judge"])
        optimizer.load_state_dict(saved["optimizer"])
        average.state, average.steps, step = saved["average"], saved["step"], saved["step"]

    def save():
        save_checkpoint(path, dict(judge=judge.state_dict(), average=average.state, optimizer=optimizer.state_dict(), step=step))

    kinds, slot, recent = {kind: 1 for kind in KINDS}, Slot(a.slot, step, train["steps"]), None
    while not slot.over(step):
        rng = random.Random(f"{config['seed']}/{step}")
        torch.manual_seed(rng.getrandbits(32))
        scenes = [free_scene(rng, bank.names) if rng.random() < 0.6 else plan_scene(rng, bank.names, kinds, VARIETY["wide"]) for _ in range(train["batch"])]
        images = worn(bank.draw(scenes, SIDE), rng)
        heat, color, size = (t.to(device) for t in targets(scenes, len(bank.names)))
        for group in optimizer.param_groups:
            group["lr"] = train["rate"] * rate(step, train)
        with autocast(device):
            read_heat, read_color, read_size = (t.float() for t in judge(images.contiguous(memory_format=torch.channels_last)))
        there = color >= 0
        losses = torch.stack([focal(read_heat, heat), F.cross_entropy(read_color.permute(0, 2, 3, 1)[there], color[there]), (read_size[:, 0] - size[:, 0])[there].abs().mean()])
        optimizer.zero_grad(set_to_none=True)
        (losses * torch.tensor([1, 0.5, 0.5], device=device)).sum().backward()
        torch.nn.utils.clip_grad_norm_(judge.parameters(), 5)
        optimizer.step()
        average.update(judge)
        step += 1
        recent = losses.detach() if recent is None else recent.lerp(losses.detach(), 0.02)
        slot.show(step, "heat {:.3f} color {:.3f} size {:.3f}".format(*recent.tolist()))
        if step % 500 == 0:
            save()
    save()
    if step < train["steps"]:
        print("slot over; run again to go on")
        return
    out = os.path.join(a.work, "judge")
    judge.load_state_dict(average.state, strict=False)
    save_json(out + ".json", dict(objects=bank.names, colors=COLOR_NAMES + ["own"], width=config["width"], side=SIDE, grid=GRID))
    classic = dict(dynamo=False) if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}   # PyTorch 2 has two exporters
    torch.onnx.export(judge.eval().cpu(), torch.zeros(1, 3, SIDE, SIDE), out + ".onnx", input_names=["image"], output_names=["heat", "color", "size"],
                      opset_version=13, dynamic_axes={name: {0: "n"} for name in ("image", "heat", "color", "size")}, **classic)
    print(f"done: {out}.onnx")


if __name__ == "__main__":
    main()
