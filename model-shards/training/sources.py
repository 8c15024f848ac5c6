"""Where pictures and captions come from: drawn scenes, or a folder of own pictures. Picture k of a source is always the same one."""
import gzip
import random

import numpy as np
import torch

from files import load_json
from scenes import VARIETY, plan_scene, scene_words
from slots import ramp
from sprites import SpriteBank
from text import SPECIAL, pieces


class Scenes:
    """data: {"sprites", "kinds": {kind: weight or [first, last]}, "variety"}."""

    def __init__(self, data, seed, side, device):
        self.bank = SpriteBank(data["sprites"], device)
        self.kinds, self.variety, self.seed, self.side = data["kinds"], VARIETY[data["variety"]], seed, side

    def words(self):
        return SPECIAL + scene_words(self.bank.names)

    def pictures(self, numbers, progress=1.0):
        """-> B x 3 x side x side in [-1, 1], captions. progress: of the training, 0 to 1."""
        kinds = {kind: ramp(weight, progress) for kind, weight in self.kinds.items()}
        scenes = [plan_scene(random.Random(f"{self.seed}/{k}"), self.bank.names, kinds, self.variety) for k in numbers]
        return self.bank.draw(scenes, self.side), [s["caption"] for s in scenes]


class Pictures:
    """data: {"pictures"}: what pictures.ts wrote, `path`.json (side, captions) and `path`.rgb.gz."""

    def __init__(self, data, seed, side, device):
        path = data["pictures"]
        meta = load_json(path + ".json")
        if meta["side"] != side:
            raise SystemExit(f"{path}.json holds pictures of {meta['side']} pixels, the config asks for {side}: run pictures.ts with --side {side}.")
        with gzip.open(path + ".rgb.gz") as f:
            self.rgb = np.frombuffer(f.read(), np.uint8).reshape(-1, side, side, 3)
        self.captions, self.seed, self.device = meta["captions"], seed, device

    def words(self):
        return SPECIAL + sorted({piece for caption in self.captions for piece in pieces(caption)} - set(SPECIAL))

    def pictures(self, numbers, progress=1.0):
        rows = [random.Random(f"{self.seed}/{k}").randrange(len(self.rgb)) for k in numbers]
        images = torch.from_numpy(self.rgb[rows]).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        return images, [self.captions[row] for row in rows]


def open_source(config, seed, device):
    kind = Pictures if "pictures" in config["data"] else Scenes
    return kind(config["data"], seed, config["side"], device)
