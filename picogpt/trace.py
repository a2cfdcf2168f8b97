"""What can be seen of a forward pass: a `Trace` goes in empty and comes out filled.

Shapes: L layers, B sequences, H heads, T new tokens, S tokens attended to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Trace:
    """Collects the attention of every layer during one call of `GPT.forward`.

    Passing a trace makes attention compute its weights in the open instead of inside a fused
    kernel; the outputs agree to rounding.
    """

    layers: list[Tensor] = field(default_factory=list)
    """One tensor (B, H, T, S) a layer: the weights, each row summing to 1."""

    def attention(self) -> Tensor:
        """The weights of all layers, (L, B, H, T, S)."""
        return torch.stack(self.layers)
