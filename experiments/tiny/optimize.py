"""The optimizer: Muon for the matrices inside the layers, AdamW for embeddings and norms, in one step.

Muon (K. Jordan and others, 2024) replaces the momentum of a matrix by its nearest orthogonal matrix, found by five
Newton-Schulz steps; the update is scaled to the size of an AdamW update (J. Liu and others, 2025). Matrices of one
shape are treated as one stack, in fp32: on a CPU that is several times faster than one by one. Knows nothing about the
model or the data.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonal(stack: Tensor, steps: int = 5) -> Tensor:
    """Return the nearest (nearly) orthogonal matrices of a stack (N, R, C)."""
    a, b, c = COEFFICIENTS
    flip = stack.shape[1] > stack.shape[2]
    x: Tensor = stack.transpose(1, 2) if flip else stack
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)  # (N, R, R), of the shorter side
        x = a * x + torch.baddbmm(b * gram, gram, gram, alpha=c) @ x
    return x.transpose(1, 2) if flip else x


class Optimizer:
    """Muon and AdamW over a model's parameters; `state()` and `load()` carry all that a later step depends on."""

    def __init__(
        self, model: nn.Module, *, decay: float = 0.05, momentum: float = 0.95, betas: tuple[float, float] = (0.9, 0.98)
    ) -> None:
        self.parameters = dict(model.named_parameters())
        self.momentum, self.betas, self.decay = momentum, betas, decay
        self.count = 0
        self.groups: dict[tuple[int, ...], list[str]] = {}
        for name, p in self.parameters.items():
            if p.ndim == 2 and "embed" not in name:
                self.groups.setdefault(tuple(p.shape), []).append(name)
        self.stacks = {shape: torch.zeros(len(names), *shape) for shape, names in self.groups.items()}
        inside = {n for names in self.groups.values() for n in names}
        self.rest = [n for n in self.parameters if n not in inside]
        self.first = {n: torch.zeros_like(self.parameters[n]) for n in self.rest}
        self.second = {n: torch.zeros_like(self.parameters[n]) for n in self.rest}

    @torch.no_grad()
    def step(self, muon_rate: float, adam_rate: float) -> None:
        """Update all parameters by their gradients, and clear these."""
        self.count += 1
        # 1) Muon: one stack of matrices for each shape
        for shape, names in self.groups.items():
            gradients = torch.stack([_gradient(self.parameters[n]) for n in names])  # (N, R, C)
            stack = self.stacks[shape]
            stack.lerp_(gradients, 1 - self.momentum)
            update = orthogonal(gradients.lerp(stack, self.momentum)) * (0.2 * max(shape) ** 0.5)
            for name, u in zip(names, update, strict=True):
                self.parameters[name].mul_(1 - muon_rate * self.decay).sub_(u, alpha=muon_rate)
        # 2) AdamW, without decay: embeddings and norms
        b1, b2 = self.betas
        for name in self.rest:
            p, g = self.parameters[name], _gradient(self.parameters[name])
            m, v = self.first[name].lerp_(g, 1 - b1), self.second[name].lerp_(g * g, 1 - b2)
            scale = (1 - b2**self.count) ** 0.5 / (1 - b1**self.count)
            p.sub_(m / (v.sqrt() + 1e-8), alpha=adam_rate * scale)
        for p in self.parameters.values():
            p.grad = None

    def state(self) -> dict[str, Tensor]:
        stacks = {f"muon.{'x'.join(map(str, shape))}": s for shape, s in self.stacks.items()}
        return {
            **stacks,
            **{f"first.{n}": t for n, t in self.first.items()},
            **{f"second.{n}": t for n, t in self.second.items()},
        }

    def load(self, state: dict[str, Tensor], count: int) -> None:
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
        self.count = count


def _gradient(p: Tensor) -> Tensor:
    return p.grad if p.grad is not None else torch.zeros_like(p)
