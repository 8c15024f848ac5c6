"""Muon: momentum whose update is made orthogonal by a Newton-Schulz iteration (Jordan et al. 2024)."""
import torch


def orthogonal(matrices):
    """Matrices of one shape, no taller than wide, all at once: singular values near 1."""
    x = torch.stack(matrices).to(torch.bfloat16)
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).to(x.dtype)
    for _ in range(5):
        square = torch.bmm(x, x.transpose(1, 2))
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x.float()


class Muon(torch.optim.Optimizer):
    """For weight matrices of hidden layers. Fused projections (rows twice or three times the columns) are treated part by part."""

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.01):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            by_shape = {}
            for weight in (w for w in group["params"] if w.grad is not None):
                momentum = self.state[weight].setdefault("m", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 1 - group["momentum"])
                update = weight.grad.lerp(momentum, group["momentum"])
                rows, columns = weight.shape
                parts = rows // columns if rows in (2 * columns, 3 * columns) else 1
                for u, w in zip(update.chunk(parts), weight.data.chunk(parts)):
                    u = u.t() if u.shape[0] > u.shape[1] else u
                    by_shape.setdefault(tuple(u.shape), []).append((u, w))
            for pairs in by_shape.values():
                for u, (_, w) in zip(orthogonal([u for u, _ in pairs]), pairs):
                    tall = w.shape[0] > w.shape[1]
                    w.mul_(1 - group["lr"] * group["weight_decay"])
                    w.add_(u.t() if tall else u, alpha=-group["lr"] * max(1.0, w.shape[0] / w.shape[1]) ** 0.5)
