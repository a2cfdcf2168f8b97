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

import torch
from torch import Tensor

from trainers.optimizer import Optimizer
from trainers.workers import Each, one_by_one

# X <- a X + b (X X^T) X + c (X X^T)^2 X, four times. Each row is the odd polynomial of degree five
# that brings all singular values within its reach nearest to 1 (minimax, by Remez exchange); the
# first starts from 0.005 to 1, and after the last they lie within 0.917 and 1.083. What is below
# 0.005 of the matrix's norm grows up to 226-fold.
COEFFICIENTS = (
    (8.2987, -24.4305, 18.0903),
    (3.9152, -2.9211, 0.5592),
    (3.1746, -2.3804, 0.4978),
    (2.1895, -1.5672, 0.4079),
)
STACK = 1 << 21
"""Most numbers that go through the iteration together, to bound the memory in use."""
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


Piece = tuple[Tensor, Tensor, Tensor, float]
"""Views of a weight, its gradient and its mean gradient, turned so that R <= C; and how much larger
the update of a matrix that stands is: the root of its height over its width."""


class Muon(Optimizer):
    """Momentum, made orthogonal.

    Args:
        params: matrices (out, in).
        fused: which of them hold query, key and value one above the other; each is made
            orthogonal for itself.
        lr: size of an update's singular values, for a matrix that is not taller than wide.
        momentum: share of the running mean of gradients kept at each step (0 to 1).
        weight_decay: shrinks a matrix by this times `lr` at each step.
        dtype: what the iteration is computed in.
        each: a function like `one_by_one`, which may work on several stacks at the same time.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        fused: Iterable[Tensor] = (),
        lr: float = 0.02,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.bfloat16,
        each: Each = one_by_one,
    ) -> None:
        super().__init__(params, lr, ("momentum",))
        self._each = each
        self.momentum, self.weight_decay, self.dtype = momentum, weight_decay, dtype
        self._fused = {id(p) for p in fused}

    def _update(self, grads: list[Tensor]) -> None:
        means = self.memory["momentum"]
        torch._foreach_lerp_(means, grads, 1 - self.momentum)
        if self.weight_decay:
            torch._foreach_mul_(self.params, 1 - self.lr * self.weight_decay)
        alike: dict[torch.Size, list[Piece]] = {}
        for tensors in zip(self.params, grads, means, strict=True):
            parts = 3 if id(tensors[0]) in self._fused else 1
            for piece in zip(*(t.chunk(parts) for t in tensors), strict=True):
                rows, columns = piece[0].shape
                if rows <= columns:
                    lying = *piece, 1.0
                else:
                    lying = *(t.mT for t in piece), (rows / columns) ** 0.5
                alike.setdefault(lying[0].shape, []).append(lying)
        self._each(self._move, [stack for pieces in alike.values() for stack in _stacks(pieces)])

    @torch.no_grad()  # it may run in a thread of its own
    def _move(self, pieces: list[Piece]) -> None:
        """Move matrices of one shape (R, C)."""
        # Nesterov: the direction is where the mean gradient will be.
        ahead = [grad.lerp(mean, self.momentum) for _, grad, mean, _ in pieces]
        updates = orthogonalize(torch.stack(ahead), self.dtype)  # (N, R, C)
        for (weight, _, _, scale), update in zip(pieces, updates, strict=True):
            weight.add_(update.to(weight.dtype), alpha=-self.lr * scale)


def _stacks(pieces: list[Piece]) -> list[list[Piece]]:
    """Matrices of one shape as several lists: work for two at least, and none too large."""
    rows, columns = pieces[0][0].shape
    most = max(1, min(STACK // (rows * columns), (len(pieces) + 1) // 2))
    return [pieces[at : at + most] for at in range(0, len(pieces), most)]
