"""The shape of a GPT, and the five named shapes this project uses."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from picogpt.errors import ConfigError

#: Largest value accepted per field; generous, so that GPT-2 XL (48 layers of 1,600) still loads.
_LIMITS = {
    "n_layer": 128,
    "n_head": 128,
    "n_embd": 16_384,
    "block_size": 65_536,
    "vocab_size": 1_000_000,
}


@dataclass
class GPTConfig:
    """Sizes of a GPT-2 model. Mutable; `GPT` validates it and keeps a copy of its own.

    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
    """

    n_layer: int = 3
    """Number of transformer blocks (1 to 128)."""
    n_head: int = 4
    """Attention heads a block; must divide `n_embd` (1 to 128)."""
    n_embd: int = 128
    """Width of the residual stream, in numbers a token (1 to 16,384)."""
    block_size: int = 128
    """Longest context, in tokens (1 to 65,536)."""
    vocab_size: int = 256
    """Number of token ids, special tokens included (1 to 1,000,000)."""
    dropout: float = 0.0
    """Share of activations dropped while training (0 to below 1)."""

    def validate(self) -> None:
        """Check every field and how they fit together.

        Raises:
            ConfigError: a field is not a whole number in its range, or `n_head` does not
                divide `n_embd`.
        """
        for field, limit in _LIMITS.items():
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
                raise ConfigError(
                    f"{field} is a whole number from 1 to {limit:,}; {value!r} is not. "
                    "Choose one in that range."
                )
        if not isinstance(self.dropout, (int, float)) or not 0 <= self.dropout < 1:
            raise ConfigError(
                f"dropout is a number from 0 to below 1; {self.dropout!r} is not. "
                "Use 0 for none, 0.1 for a little."
            )
        if self.n_embd % self.n_head:
            raise ConfigError(
                f"n_embd ({self.n_embd}) must be a multiple of n_head ({self.n_head}), so that "
                "every head gets an equal share. Change one of the two."
            )

    def copy(self) -> GPTConfig:
        """An equal config that shares nothing with this one."""
        return dataclasses.replace(self)

    def parameters(self) -> int:
        """Number of trainable parameters of a model of this shape (the tied head counts once)."""
        c = self.n_embd
        block = 12 * c * c + 13 * c  # qkv, projection, two MLP matrices; biases and two norms
        return self.vocab_size * c + self.block_size * c + self.n_layer * block + 2 * c


#: name -> (n_layer, n_head, n_embd, block_size); the vocabulary comes from the tokenizer.
SIZES: dict[str, tuple[int, int, int, int]] = {
    "small": (3, 4, 128, 128),
    "basic": (4, 4, 256, 256),
    "fast": (5, 8, 256, 256),
    "conversation": (6, 6, 384, 256),
    "large": (8, 8, 512, 256),
}


def named_config(size: str, vocab_size: int, dropout: float = 0.0) -> GPTConfig:
    """The config of a named size.

    Args:
        size: a key of `SIZES`.
        vocab_size: number of token ids of the tokenizer in use.
        dropout: share of activations dropped while training (0 to below 1).

    Raises:
        ConfigError: there is no such size.
    """
    if size not in SIZES:
        raise ConfigError(f"There is no size {size!r}. Choose one of: {', '.join(SIZES)}.")
    n_layer, n_head, n_embd, block_size = SIZES[size]
    return GPTConfig(n_layer, n_head, n_embd, block_size, vocab_size, dropout)
