"""What all optimizers share: parameters, a learning rate, and a memory between steps.

`torch.optim` offers the same, but loads PyTorch's compiler when first used: 1.1 s of the start and
some 100 MB, for nothing that is needed here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from picogpt.errors import CheckpointError


class Optimizer(ABC):
    """Parameters that are moved against their gradients.

    Args:
        params: what is trained, in the model's order.
        lr: learning rate; may be changed between steps.
        kept: names of the tensors remembered for each parameter, of its shape, 0 at first.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, kept: Sequence[str]) -> None:
        self.params, self.lr, self.steps = list(params), lr, 0
        self.memory = {name: [torch.zeros_like(p) for p in self.params] for name in kept}

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter from its gradient."""
        self.steps += 1
        self._update([p.grad for p in self.params])

    @abstractmethod
    def _update(self, grads: list[Tensor]) -> None:
        """Move the parameters; `self.steps` already counts this step."""

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.params:
            p.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the next step depends on: name -> tensor."""
        found = {f"{k}.{i}": t for k, kept in self.memory.items() for i, t in enumerate(kept)}
        return found | {"steps": torch.tensor(self.steps)}

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `tensors` gave.

        Raises:
            CheckpointError: they are those of other parameters.
        """
        own = self.tensors()
        if {k: t.shape for k, t in own.items()} != {k: t.shape for k, t in tensors.items()}:
            raise CheckpointError(
                "The saved training state does not fit: its optimizer was made for other weights. "
                "Start a new run."
            )
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
        self.steps = int(tensors["steps"])
