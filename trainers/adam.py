"""Adam, for tables, norms and biases.

Source: Kingma and Ba 2015, "Adam: A method for stochastic optimization".
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from trainers.optimizer import Optimizer

EPSILON = 1e-8
"""Added to the root mean square, so that a gradient of 0 divides well."""


class Adam(Optimizer):
    """Each number moves by its mean gradient over the gradient's root mean square.

    Args:
        params: tensors of any shape.
        lr: about the size of an update.
        betas: shares of the two running means (of the gradient, of its square) kept at a step.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float = 0.003, betas: tuple[float, float] = (0.9, 0.95)
    ) -> None:
        super().__init__(params, lr, ("mean", "square"))
        self.betas = betas

    def _update(self, grads: list[Tensor]) -> None:
        slow, slower = self.betas
        mean, square = self.memory["mean"], self.memory["square"]
        torch._foreach_lerp_(mean, grads, 1 - slow)
        torch._foreach_mul_(square, slower)
        torch._foreach_addcmul_(square, grads, grads, 1 - slower)
        # Both began at 0 and are too small by a known share at first.
        divisor = torch._foreach_sqrt(torch._foreach_div(square, 1 - slower**self.steps))
        torch._foreach_add_(divisor, EPSILON)
        torch._foreach_addcdiv_(self.params, mean, divisor, -self.lr / (1 - slow**self.steps))
