"""The blocks that `firstlight bench --shape` runs, in PyTorch: times by scale on the same card in the same minutes.

    python3 infra/bench/gpu/blocks.py --width 2048 --heads 16 --ffn 8192 --depth 32 --blocks 2 --scales 0..12 --seconds 60

One JSON document on stdout: the card's own limits as PyTorch reaches them (matmul, copy), then milliseconds by scale,
eager and compiled. Where there is no PyTorch, or it compiles nothing, the document says so. Random weights.
"""
import argparse
import json
import sys
import time

SIDES = [1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64]
TEXT_TOKENS = 24
ROWS = 2
WARM, MOST = 3, 20

parser = argparse.ArgumentParser()
for name in ("width", "heads", "ffn", "depth", "blocks"):
    parser.add_argument(f"--{name}", type=int, required=True)
parser.add_argument("--scales", default="0..12")
parser.add_argument("--seconds", type=float, default=60)
args = parser.parse_args()
first, last = (int(part) for part in args.scales.split(".."))

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    print(json.dumps({"torch": None, "why": str(error)}))
    sys.exit(0)

CUDA = torch.cuda.is_available()
device = torch.device("cuda" if CUDA else "cpu")
dtype = torch.bfloat16 if CUDA else torch.float32
torch.manual_seed(1)
deadline = time.monotonic() + args.seconds


def seconds(run):
    """The least of some runs, by the card's clock where there is one; None once the time is spent."""
    if time.monotonic() > deadline:
        return None
    for _ in range(WARM):
        run()
    best = None
    for _ in range(MOST):
        if CUDA:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            run()
            end.record()
            torch.cuda.synchronize()
            took = begin.elapsed_time(end) / 1000
        else:
            begun = time.perf_counter()
            run()
            took = time.perf_counter() - begun
        best = took if best is None else min(best, took)
        if time.monotonic() > deadline:
            break
    return best


def limits():
    side, words = (8192, 1 << 28) if CUDA else (256, 1 << 20)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    x = torch.empty(words, device=device, dtype=torch.float32)
    y = torch.empty_like(x)
    matmul, copy = seconds(lambda: a @ b), seconds(lambda: y.copy_(x))
    return {
        "matmul_tflops": matmul and 2 * side**3 / matmul / 1e12,
        "copy_gigabytes_a_second": copy and 8 * words / copy / 1e9,
    }


def attend(q, k, v):
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, scale=1.0)
    return torch.softmax(q @ k.transpose(-1, -2), -1) @ v


class Block(torch.nn.Module):
    """Infinity's: modulated self attention with normalised, rotated heads, cross attention, feed-forward (GELU)."""

    def __init__(self):
        super().__init__()
        width, ffn = args.width, args.ffn
        linear = lambda k, n: torch.nn.Linear(k, n, device=device, dtype=dtype)
        self.qkv, self.proj = linear(width, 3 * width), linear(width, width)
        self.q, self.kv, self.cross = linear(width, width), linear(width, 2 * width), linear(width, width)
        self.fc1, self.fc2 = linear(width, ffn), linear(ffn, width)
        self.modulation = torch.nn.Parameter(torch.randn(6, width, device=device, dtype=dtype) * 0.02)
        self.scale = torch.nn.Parameter(torch.zeros(args.heads, 1, 1, device=device, dtype=dtype))

    def forward(self, x, text, turn, cache):
        rows, tokens, width = x.shape
        heads = lambda t: t.view(rows, -1, args.heads, width // args.heads).transpose(1, 2)
        flat = lambda t: t.transpose(1, 2).reshape(rows, tokens, width)
        gamma1, gamma2, scale1, scale2, shift1, shift2 = self.modulation
        normed = F.layer_norm(x, (width,)) * (1 + scale1) + shift1
        q, k, v = (heads(t) for t in self.qkv(normed).chunk(3, -1))
        q, k = F.normalize(q, dim=-1) * self.scale.exp(), F.normalize(k, dim=-1)
        q, k = ((t * turn[0] + t.roll(1, -1) * turn[1]) for t in (q, k))
        keys, values = torch.cat((cache[0], k), 2), torch.cat((cache[1], v), 2)
        x = x + gamma1 * self.proj(flat(attend(q, keys, values)))
        k, v = (heads(t) for t in self.kv(text).chunk(2, -1))
        q = heads(self.q(F.layer_norm(x, (width,)))) * (width // args.heads) ** -0.5
        x = x + self.cross(flat(attend(q, k, v)))
        normed = F.layer_norm(x, (width,)) * (1 + scale2) + shift2
        return x + gamma2 * self.fc2(F.gelu(self.fc1(normed), approximate="tanh"))


@torch.no_grad()
def by_scale(run):
    """Milliseconds of the blocks at every scale over the keys of all earlier ones."""
    times = []
    for scale in range(first, last + 1):
        tokens = SIDES[scale] ** 2
        earlier = sum(side**2 for side in SIDES[:scale])
        draw = lambda *shape: torch.randn(*shape, device=device, dtype=dtype)
        head = args.width // args.heads
        x, text, turn = draw(ROWS, tokens, args.width), draw(ROWS, TEXT_TOKENS, args.width), draw(2, tokens, head)
        cache = [draw(ROWS, args.heads, earlier, head) for _ in range(2)]
        took = seconds(lambda: run(x, text, turn, cache))
        times.append({"scale": scale, "grid": f"{SIDES[scale]}x{SIDES[scale]}", "ms": took and took * 1000})
    return times


blocks = torch.nn.ModuleList(Block() for _ in range(args.blocks))


def chain(x, text, turn, cache):
    for block in blocks:
        x = block(x, text, turn, cache)
    return x


result = {
    "torch": torch.__version__,
    "device": torch.cuda.get_device_name() if CUDA else "CPU",
    "dtype": str(dtype).removeprefix("torch."),
    "blocks": args.blocks,
    "depth": args.depth,
}
with torch.no_grad():
    result["limits"] = limits()
result["eager"] = by_scale(chain)
try:
    result["compiled"] = by_scale(torch.compile(chain, dynamic=True))
except Exception as error:  # An old PyTorch, or one without its compiler: the rest stands.
    result["compiled"] = None
    result["why_not_compiled"] = f"{type(error).__name__}: {error}"[:500]
print(json.dumps(result))
