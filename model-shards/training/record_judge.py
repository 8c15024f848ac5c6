"""Records what PyTorch's judge and rules say, for infra/eval's tests: drawn pictures with detections, and made-up detections with verdicts.

    python3 record_judge.py ../../infra/eval/fixture
"""
import json
import os
import random
import sys

import torch
import torch.nn.functional as F

from config import load_config
from files import write_sheet
from geneval import COUNTING_THRESHOLD, THRESHOLD, is_right, read_prompts
from judge import detect, load_judge
from score import EVAL, HERE, clean_scene
from sprites import COLOR_NAMES, SpriteBank

CASES = 20


def perturbed(prompt, names, rng):
    """Detections near what the prompt asks for, so that about half of the verdicts are yes."""
    found = {}
    spots = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
    for wanted in prompt["include"]:
        for _ in range(max(0, wanted["count"] + rng.choice([0, 0, 0, 0, -1, 1]))):
            x, y = rng.random(), rng.random()
            if "position" in wanted:
                dx, dy = spots[wanted["position"][0]]
                x, y = 0.5 + 0.4 * dx * rng.random() + rng.gauss(0, 0.08), 0.5 + 0.4 * dy * rng.random() + rng.gauss(0, 0.08)
            elif prompt["tag"] == "position":
                x, y = 0.5, 0.5
            color = wanted["color"] if "color" in wanted and rng.random() < 0.85 else rng.choice(COLOR_NAMES)
            score = rng.uniform(0.25, 0.95)
            found.setdefault(wanted["class"], []).append(dict(score=round(score, 6), x=round(x, 4), y=round(y, 4), size=round(rng.uniform(0.2, 0.5), 4), color=color))
    if rng.random() < 0.2:
        found.setdefault(rng.choice(names), []).append(dict(score=0.6, x=0.5, y=0.5, size=0.4, color="red"))
    return found


def over(found, threshold):
    return {name: sorted((o for o in objects if o["score"] > threshold), key=lambda o: -o["score"]) for name, objects in found.items()}


def threshold_of(prompt):
    return COUNTING_THRESHOLD if prompt["tag"] == "counting" else THRESHOLD


def main():
    (out,) = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    config, judge, rng = load_config(os.path.join(HERE, "emoji-128.json")), load_judge(os.path.join(EVAL, "judge")), random.Random(1)
    prompts = read_prompts(os.path.join(EVAL, "geneval", "evaluation_metadata.jsonl"), CASES)
    of_each = prompts[::CASES][1:5]
    clean = SpriteBank(config["data"]["sprites"]).draw([clean_scene(p, judge.names) for p in of_each], config["side"])
    blurred = F.interpolate(F.interpolate(clean, scale_factor=0.25, mode="area"), size=config["side"], mode="bilinear", align_corners=False)
    write_sheet(os.path.join(out, "pictures.png"), torch.cat([clean, blurred]), len(of_each))
    # As the pictures are read: eight bits a channel.
    images = (torch.cat([clean, blurred]).clamp(-1, 1) * 127.5 + 127.5).round() / 127.5 - 1
    pictures = []
    for prompt, low in zip(of_each * 2, detect(judge, images, THRESHOLD)):
        found = [dict(name=name, **{k: round(v, 5) if isinstance(v, float) else v for k, v in o.items()}) for name, objects in low.items() for o in objects]
        pictures.append(dict(prompt=prompt["seed"], right=is_right(over(low, threshold_of(prompt)), prompt), detections=found))
    rules = []
    for prompt in prompts:
        found = perturbed(prompt, judge.names, rng)
        detections = [dict(name=name, **o) for name, objects in found.items() for o in objects]
        rng.shuffle(detections)
        rules.append(dict(prompt=prompt["seed"], right=is_right(over(found, threshold_of(prompt)), prompt), detections=detections))
    with open(os.path.join(out, "verdicts.json"), "w") as f:
        lines = lambda list: "[\n" + ",\n".join("\t\t" + json.dumps(x) for x in list) + "\n\t]"
        f.write('{\n\t"pictures": ' + lines(pictures) + ',\n\t"rules": ' + lines(rules) + "\n}\n")
    print(sum(p["right"] for p in pictures), "of", len(pictures), "pictures,", sum(p["right"] for p in rules), "of", len(rules), "made-up ones are right")


if __name__ == "__main__":
    main()
