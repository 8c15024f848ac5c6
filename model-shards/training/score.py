"""Scores a model by the GenEval protocol with the judge.

    python3 score.py emoji-128.json --model ../models/emoji-128
    python3 score.py emoji-128.json --clean                      what the judge makes of clean drawings of the prompts: its ceiling
    python3 score.py emoji-128.json --clean --round-trip FOLDER  the same after the tokenizer of that release

Picture n of prompt p (its place in the list) has the seed 1000 n + p, whatever subset is scored.
"""
import argparse
import json
import os
import random
import time

import torch

from config import load_config
from exported import open_model
from files import write_picture, write_sheet
from geneval import COUNTING_THRESHOLD, THRESHOLD, is_right, read_prompts, scores
from judge import detect, load_judge
from scenes import LAYOUTS, VARIETY, relation_spots, scene
from sprites import COLOR_NAMES, OWN, SpriteBank

HERE = os.path.dirname(os.path.abspath(__file__))
EVAL = os.path.join(HERE, "..", "..", "infra", "eval")


def clean_scene(prompt, names):
    objects = [(names.index(o["class"]), COLOR_NAMES.index(o["color"]) if "color" in o else OWN) for o in prompt["include"] for _ in range(o["count"])]
    layouts, size = LAYOUTS[len(objects)]
    spots = layouts[0]
    if prompt["tag"] == "position":
        relation, _ = prompt["include"][1]["position"]           # of the second object to the first
        spots = relation_spots(relation)[::-1]
    return scene(random.Random(prompt["seed"]), objects, spots, size, VARIETY["calm"])


def painter_of(a, config, names):
    """-> a function from prompts and seeds to pictures."""
    if not a.clean:
        model = open_model(config, a.model)
        return lambda prompts, seeds: model.paint([p["prompt"] for p in prompts], seeds, a.guidance, a.tau)
    bank, trip = SpriteBank(config["data"]["sprites"]), None
    if a.round_trip:
        trip = open_model(config, a.round_trip).tokenizer.round_trip

    def draw(prompts, seeds):
        images = bank.draw([clean_scene(p, names) for p in prompts], config["side"])
        return trip(images) if trip else images

    return draw


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("config")
    p.add_argument("--model", default=os.path.join(HERE, "..", "models", "emoji-128"), help="a release or a model folder")
    p.add_argument("--clean", action="store_true")
    p.add_argument("--round-trip", default="")
    p.add_argument("--judge", default=os.path.join(EVAL, "judge"))
    p.add_argument("--prompts", default=os.path.join(EVAL, "geneval", "evaluation_metadata.jsonl"))
    p.add_argument("--each", type=int, default=0, help="prompts of every category; default all 553")
    p.add_argument("--pictures", type=int, default=1, help="of every prompt")
    p.add_argument("--first", type=int, default=0, help="number n of the first picture; settings are better tried on others than those that are reported")
    p.add_argument("--guidance", type=float)
    p.add_argument("--tau", type=float)
    p.add_argument("--sheet", default="", help="PNG of the first eight pictures of every category")
    p.add_argument("--write", default="", help="folder for the first picture of every prompt, PLACE.png")
    p.add_argument("--batch", type=int, default=16)
    a = p.parse_args()
    config, judge, started = load_config(a.config), load_judge(a.judge), time.time()
    prompts, make, results, shown = read_prompts(a.prompts, a.each), painter_of(a, config, judge.names), [], {}
    for n in range(a.first, a.first + a.pictures):
        for i in range(0, len(prompts), a.batch):
            part = prompts[i : i + a.batch]
            with torch.no_grad():
                images = make(part, [1000 * n + prompt["seed"] for prompt in part])
            for image, prompt, low, high in zip(images, part, detect(judge, images, THRESHOLD), detect(judge, images, COUNTING_THRESHOLD)):
                results.append((prompt["tag"], is_right(high if prompt["tag"] == "counting" else low, prompt)))
                shown.setdefault(prompt["tag"], []).append(image)
                if a.write and n == a.first:
                    write_picture(os.path.join(a.write, f"{prompt['seed']:03d}.png"), image)
    print(json.dumps(dict({k: round(v, 3) for k, v in scores(results).items()}, pictures=len(results), seconds=round(time.time() - started))))
    if a.sheet:
        write_sheet(a.sheet, torch.stack([image for images in shown.values() for image in images[:8]]), 8)


if __name__ == "__main__":
    main()
