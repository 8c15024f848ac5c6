"""The judge: finds the 80 objects in a picture with their place, size and colour (CenterNet, Zhou et al. 2019, arXiv 1904.07850).

Input N x 3 x 128 x 128 in [-1, 1]. Outputs on a 32 x 32 grid: heat N x 80 (logits; a peak is an object's centre), color N x 11
(GenEval's ten colours, then the object's own; logits), size N x 1 (log of the object's side as a fraction of the picture's).
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

from files import load_json
from onnx_weights import convolutions

SIDE, GRID = 128, 32


def conv(cin, cout, stride=1):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = conv(width, width), nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        return F.relu(x + self.second(self.first(x)))


class Judge(nn.Module):
    def __init__(self, names, colors, width):
        super().__init__()
        self.names, self.colors, self.width = names, colors, width
        self.to64 = nn.Sequential(conv(3, width, 2), Residual(width))
        self.to32 = nn.Sequential(conv(width, 2 * width, 2), Residual(2 * width))
        self.to16 = nn.Sequential(conv(2 * width, 4 * width, 2), Residual(4 * width), Residual(4 * width))
        self.to8 = nn.Sequential(conv(4 * width, 6 * width, 2), Residual(6 * width), Residual(6 * width))
        self.up16, self.join16 = nn.Conv2d(6 * width, 4 * width, 1), Residual(4 * width)
        self.up32, self.join32 = nn.Conv2d(4 * width, 2 * width, 1), conv(2 * width, 4 * width)
        self.heat, self.color, self.size = (nn.Conv2d(4 * width, n, 1) for n in (len(names), len(colors) + 1, 1))
        nn.init.constant_(self.heat.bias, -4.6)                                         # one cell in a hundred is a centre

    def forward(self, x):
        x32 = self.to32(self.to64(x))
        x16 = self.to16(x32)
        y = self.join16(x16 + self.up16(F.interpolate(self.to8(x16), scale_factor=2.0, mode="nearest")))
        y = self.join32(x32 + self.up32(F.interpolate(y, scale_factor=2.0, mode="nearest")))
        return self.heat(y), self.color(y), self.size(y)


def load_judge(path):
    """`path`.json and `path`.onnx, as train_judge.py writes them."""
    about = load_json(path + ".json")
    judge = Judge(about["objects"], about["colors"][:-1], about["width"]).eval()
    ran = []
    hooks = [m.register_forward_hook(lambda m, *_: ran.append(m)) for m in judge.modules() if isinstance(m, (nn.Conv2d, nn.BatchNorm2d))]
    judge(torch.zeros(1, 3, SIDE, SIDE))
    for hook in hooks:
        hook.remove()
    folded = iter(convolutions(path + ".onnx"))
    for module, after in zip(ran, ran[1:] + [None]):
        if isinstance(module, nn.BatchNorm2d):                                          # folded into the one before
            continue
        weight, bias = (torch.tensor(t) for t in next(folded))
        module.weight.data = weight
        if module.bias is not None:
            module.bias.data = bias
        else:
            after.weight.data, after.bias.data = torch.ones(len(bias)), bias
            after.running_mean, after.running_var = torch.zeros(len(bias)), torch.full((len(bias),), 1 - after.eps)
    return judge


@torch.no_grad()
def detect(judge, images, threshold):
    """B x 3 x H x W in [-1, 1] -> for every picture {name: [dict(score, x, y, size, color)]}, best first; x, y, size as fractions."""
    if images.shape[-1] != SIDE:
        images = F.interpolate(images, size=(SIDE, SIDE), mode="area")
    heat, color, size = judge(images)
    score = torch.sigmoid(heat)
    peaks = (F.max_pool2d(score, 5, 1, 2) == score) & (score > threshold)
    found = [{} for _ in range(len(images))]
    for i, k, y, x in peaks.nonzero().tolist():
        found[i].setdefault(judge.names[k], []).append(dict(
            score=float(score[i, k, y, x]), x=(x + 0.5) / GRID, y=(y + 0.5) / GRID, size=float(size[i, 0, y, x].exp()),
            color=judge.colors[int(color[i, : len(judge.colors), y, x].argmax())]))
    for names in found:
        for objects in names.values():
            objects.sort(key=lambda o: -o["score"])
    return found
