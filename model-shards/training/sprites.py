"""Object sprites in their own and in the GenEval colours, and the drawing of planned scenes with them.

Everything is tensor arithmetic, so a batch of scenes is drawn on a CPU or a GPU without an image library.
Positions and sizes are fractions of the picture's side: the same scene is drawn at any size.
"""
import gzip
import os

import numpy as np
import torch
import torch.nn.functional as F

from files import load_json

COLORS = {  # (dark, base, light) of the ramp that takes the place of a sprite's own colours
    "red": ((96, 8, 16), (222, 38, 44), (255, 176, 170)),
    "orange": ((140, 58, 4), (246, 132, 28), (255, 214, 160)),
    "yellow": ((150, 104, 0), (250, 208, 40), (255, 246, 178)),
    "green": ((10, 70, 30), (52, 164, 72), (184, 236, 176)),
    "blue": ((12, 32, 110), (48, 104, 226), (176, 208, 255)),
    "purple": ((54, 18, 98), (136, 70, 196), (220, 186, 250)),
    "pink": ((150, 40, 92), (248, 132, 182), (255, 218, 234)),
    "brown": ((56, 28, 10), (134, 82, 44), (214, 176, 140)),
    "black": ((4, 4, 6), (36, 36, 42), (132, 132, 142)),
    "white": ((128, 130, 140), (228, 230, 234), (255, 255, 255)),
}
COLOR_NAMES = list(COLORS)
OWN = -1  # colour of an object that keeps its sprite's colours


def recoloured(rgb, alpha):
    """N x H x W x 3 sprites, N x H x W x 1 alpha -> N x (1 + colours) x H x W x 3, own colours first."""
    luma = (rgb * torch.tensor([0.299, 0.587, 0.114])).sum(-1)
    # every sprite's own luminance is spread over the ramp by its quantiles, so dark and light objects both show the colour
    points = torch.tensor([0.03, 0.5, 0.97])
    low, middle, high = (q.view(-1, 1, 1) for q in torch.stack([torch.quantile(l[a[..., 0] > 0.5], points) for l, a in zip(luma, alpha)]).unbind(1))
    low, high = torch.minimum(low, middle - 0.12), torch.maximum(high, middle + 0.12)
    shade = ((luma - low) / (middle - low)).clamp(0, 1).unsqueeze(-1)
    shine = ((luma - middle) / (high - middle)).clamp(0, 1).unsqueeze(-1)
    variants = [rgb]
    for ramp in COLORS.values():
        dark, base, light = (torch.tensor(c).float() / 255 for c in ramp)
        mapped = torch.where((luma < middle).unsqueeze(-1), dark + (base - dark) * (0.25 + 0.75 * shade), base + (light - base) * 0.8 * shine)
        variants.append(0.93 * mapped + 0.07 * rgb)
    return torch.stack(variants, 1)


class SpriteBank:
    """Sprites written by sprites.ts: `path`.json (names, side) and `path`.rgba.gz (straight alpha)."""

    def __init__(self, path, device="cpu"):
        if not os.path.exists(path + ".json"):
            raise SystemExit(f"There are no sprites {path}: draw them with sprites/build.ts SIDE {path}.")
        meta = load_json(path + ".json")
        self.names, side = meta["names"], meta["side"]
        with gzip.open(path + ".rgba.gz") as f:
            rgba = torch.from_numpy(np.frombuffer(f.read(), np.uint8).reshape(len(self.names), side, side, 4).copy()).float() / 255
        rgb, alpha = rgba[..., :3], rgba[..., 3:]
        bank = recoloured(rgb, alpha)
        alpha = alpha.unsqueeze(1).expand(-1, bank.shape[1], -1, -1, -1)
        bank = torch.cat([bank * alpha, alpha], -1).permute(0, 1, 4, 2, 3)                    # premultiplied
        half = F.avg_pool2d(bank.flatten(0, 1), 2).unflatten(0, bank.shape[:2])
        # a sprite is drawn from its half size where that is large enough: bilinear sampling of much larger ones would alias
        self.levels = [(level * 255).round().byte().contiguous().to(device) for level in (half, bank)]
        self.device = device

    def draw(self, scenes, side):
        """Scenes of scenes.py -> B x 3 x side x side in [-1, 1]."""
        device, count = self.device, len(scenes)
        at = (torch.arange(side, device=device).float() + 0.5) / side
        top, bottom = (torch.tensor([s["background"][i] for s in scenes], device=device).view(count, 3, 1, 1) for i in (0, 1))
        canvas = (top + (bottom - top) * at.view(1, 1, side, 1)).expand(count, 3, side, side).contiguous()
        for slot in range(max(len(s["objects"]) for s in scenes)):
            placed = [(row, s["objects"][slot]) for row, s in enumerate(scenes) if len(s["objects"]) > slot]
            for level in (0, 1):
                large = [(row, o) for row, o in placed if (o["size"] * side > self.levels[0].shape[-1]) == bool(level)]
                if large:
                    self.paint(canvas, self.levels[level], [row for row, _ in large], [o for _, o in large], at)
        return canvas.clamp_(0, 1).mul_(2).sub_(1)

    def paint(self, canvas, textures, rows, objects, at):
        rows = torch.tensor(rows, device=self.device)
        numbers = torch.tensor([[o["x"], o["y"], o["size"], o["turn"], -1.0 if o["mirror"] else 1.0] for o in objects], device=self.device)
        x, y, size, turn, mirror = (n.view(-1, 1, 1) for n in numbers.unbind(1))
        dx, dy = at.view(1, 1, -1) - x, at.view(1, -1, 1) - y
        shadow = torch.exp(-0.5 * ((dx / (size * 0.34)) ** 2 * 1.6 + ((dy - size * 0.47) / (size * 0.055)) ** 2)) * 0.22
        cos, sin, stretch = torch.cos(turn), torch.sin(turn), 2 / size
        grid = torch.stack([(cos * dx + sin * dy) * stretch * mirror, (-sin * dx + cos * dy) * stretch], -1)
        texture = textures[torch.tensor([o["name"] for o in objects]), torch.tensor([o["color"] + 1 for o in objects])].float() / 255
        patch = F.grid_sample(texture, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        canvas[rows] = canvas[rows] * (1 - shadow.unsqueeze(1)) * (1 - patch[:, 3:]) + patch[:, :3]
