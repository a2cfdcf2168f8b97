"""What attention remembers of the tokens already read.

Shapes: B sequences, H heads, T new tokens, S stored tokens, D numbers a head (C = H * D).
"""

from __future__ import annotations

import torch
from torch import Tensor

from picogpt.config import GPTConfig


class KVCache:
    """Keys and values of every layer for up to `block_size` tokens.

    The buffers are allocated once, so a step writes its new keys and values in place and reads
    the rest as a view. `length` moves on only after the last layer has appended, which is why
    `GPT.forward` calls `advance`.

    Memory: 2 * n_layer * B * block_size * n_embd numbers (float32: 2.6 MB for `fast` at B = 1).
    """

    def __init__(
        self,
        config: GPTConfig,
        batch: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        head_size = config.n_embd // config.n_head
        shape = (config.n_layer, batch, config.n_head, config.block_size, head_size)
        self.keys = torch.empty(shape, device=device, dtype=dtype)  # (L, B, H, S_max, D)
        self.values = torch.empty(shape, device=device, dtype=dtype)
        self.length = 0

    @property
    def capacity(self) -> int:
        """Most tokens it can hold."""
        return self.keys.shape[3]

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store a layer's new keys and values (B, H, T, D); return all of them (B, H, S, D)."""
        end = self.length + k.shape[2]
        assert end <= self.capacity, "the caller crops the context before it overflows"
        self.keys[layer, :, :, self.length : end] = k
        self.values[layer, :, :, self.length : end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def advance(self, tokens: int) -> None:
        """Count `tokens` as stored, once every layer has appended them."""
        self.length += tokens

    def truncate(self, length: int) -> None:
        """Forget everything after the first `length` tokens."""
        assert 0 <= length <= self.length
        self.length = length
