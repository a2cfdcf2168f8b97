"""Muon: each update of a matrix is the nearest orthogonal one, so all directions learn alike.

Shapes: N matrices of one shape, R rows, C columns, R <= C (taller ones are turned on their side).

Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". Two things
differ. The iteration's coefficients are the best ones step by step (Amsel et al. 2025, "The Polar
Express"), worked out here for the four steps we take. And all matrices of one shape go through it
together, query, key and value each as its own, because a small model's time goes into the number
of operations.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import torch
from torch import Tensor

# X <- a X + b (X X^T) X + c (X X^T)^2 X, four times. Each row is the odd polynomial of degree five
# that brings all singular values within its reach nearest to 1 (minimax, by Remez exchange); the
# first starts from 0.005 to 1, and after the last they lie within 0.917 and 1.083. What is below
# 0.005 of the matrix's norm grows about 400-fold.
COEFFICIENTS = (
    (8.2987, -24.4305, 18.0903),
    (3.9152, -2.9211, 0.5592),
    (3.1746, -2.3804, 0.4978),
    (2.1895, -1.5672, 0.4079),
)
MARGIN = 1.02
"""The norm is taken this much larger, so that rounding leaves no singular value above 1."""


def orthogonalize(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """The orthogonal matrix nearest to each, up to the reach of `COEFFICIENTS`.

    Args:
        matrices: (N, R, C), R <= C, any floating dtype.
        dtype: what the products are computed in; bfloat16 is enough.

    Returns:
        (N, R, C) of `dtype`; a matrix of zeros stays one.
    """
    norm = torch.linalg.vector_norm(matrices, dim=(1, 2), keepdim=True)  # (N, 1, 1)
    x = (matrices / (norm * MARGIN + 1e-12)).to(dtype)
    for a, b, c in COEFFICIENTS:
        gram = x @ x.mT  # (N, R, R)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal.

    Args:
        params: matrices (out, in); a parameter group may set `parts` above 1 when its matrices
            hold that many of equal height, one above the other (query, key and value: 3).
        lr: size of an update's singular values, for a matrix that is not taller than wide.
        momentum: share of the running mean of gradients kept at each step (0 to 1).
        weight_decay: shrinks a matrix by this times `lr` at each step.
        dtype: what the iteration is computed in.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 0.02,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        self.dtype = dtype
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "parts": 1}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update every matrix that has a gradient."""
        pieces = [
            piece
            for group in self.param_groups
            for p in group["params"]
            if p.grad is not None
            for piece in self._pieces(p, group)
        ]
        shape = lambda piece: (*sorted(piece[0].shape), piece[0].device)  # noqa: E731
        pieces.sort(key=lambda piece: str(shape(piece)))  # stable: the order is that of the model
        for _, alike in groupby(pieces, key=shape):
            self._update(list(alike))

    def _pieces(self, p: Tensor, group: dict) -> list[tuple[Tensor, Tensor, dict]]:
        """(weight, direction, group) of each part of a matrix; weights are views of `p`."""
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        mean = state["momentum_buffer"].lerp_(p.grad, 1 - group["momentum"])
        ahead = p.grad.lerp(mean, group["momentum"])  # Nesterov: where the mean will be
        parts = group["parts"]
        pairs = zip(p.chunk(parts), ahead.chunk(parts), strict=True)
        return [(weight, direction, group) for weight, direction in pairs]

    def _update(self, pieces: list[tuple[Tensor, Tensor, dict]]) -> None:
        """Move matrices of one shape, in either orientation."""
        lying = [d if d.shape[0] <= d.shape[1] else d.mT for _, d, _ in pieces]
        updates = orthogonalize(torch.stack(lying), self.dtype)
        for update, (weight, _, group) in zip(updates, pieces, strict=True):
            rows, columns = weight.shape
            if group["weight_decay"]:
                weight.mul_(1 - group["lr"] * group["weight_decay"])
            scale = max(1.0, rows / columns) ** 0.5
            standing = update if rows <= columns else update.mT
            weight.add_(standing.to(weight.dtype), alpha=-group["lr"] * scale)
