"""Everything that decides how a run goes: one frozen, checked object."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

from picogpt.config import SIZES, GPTConfig
from picogpt.errors import ConfigError

TOKENIZERS = ("char", "bpe")
DTYPES = ("auto", "float32", "bfloat16")
SWITCH = ("auto", "on", "off")

MOST_STEPS = 10_000_000
"""Steps of a run that only its seconds end."""

#: field -> (lowest, highest) for whole numbers, and for numbers.
_WHOLE = {
    "n_layer": (1, 48), "n_head": (1, 64), "n_embd": (8, 4096), "block_size": (8, 4096),
    "vocab_size": (260, 65_535), "batch_size": (1, 4096), "steps": (1, MOST_STEPS),
    "warmup_steps": (0, 100_000), "eval_every": (1, 1_000_000),
    "eval_tokens": (0, 100_000_000), "sample_every": (0, 1_000_000),
    "sample_tokens": (1, 1000), "seed": (0, 2**31 - 1), "eval_block": (0, 4096),
    "short_block": (0, 4096), "micro_batch": (0, 4096), "workers": (0, 256),
}  # fmt: skip
_NUMBERS = {
    "dropout": (0, 0.9), "muon_lr": (0, 1), "adam_lr": (0, 1), "cooldown": (0, 1),
    "weight_decay": (0, 10), "seconds": (0, 1e9), "target_val_loss": (0, 100),
    "momentum": (0, 0.999), "short_share": (0, 1), "averaging": (0, 1000),
}  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """How a model is made from a text. Checked when made.

    Raises:
        ConfigError: a field outside its range, or sizes that do not fit each other.
    """

    preset: str = "small"
    """Name of the preset this began as."""
    corpus: str = "stories"
    """Name of a corpus under `corpora/`, or a path to a text file."""
    out: str = ""
    """Name of the checkpoint folder; empty makes one from preset and corpus."""

    tokenizer: str = "char"
    """`char` or `bpe`."""
    vocab_size: int = 1024
    """Most ids of a BPE vocabulary, special tokens included; a char vocabulary has its own."""

    n_layer: int = 3
    """Transformer blocks."""
    n_head: int = 4
    """Attention heads a block."""
    n_embd: int = 128
    """Width of the residual stream."""
    block_size: int = 128
    """Longest context, in tokens."""
    dropout: float = 0.0
    """Share of activations dropped while training."""

    batch_size: int = 32
    """Sequences a step; each has `block_size` tokens."""
    short_block: int = 0
    """Tokens a sequence in the first part of a run (in three steps of four), in as many more
    sequences; 0, or as many as `block_size`: there is no such part."""
    short_share: float = 0.5
    """How long that part is, as a share of the run (0 to 1)."""
    micro_batch: int = 0
    """Sequences of `block_size` computed at a time, whose gradients add up to a step's; 0 lets the
    memory decide, and is replaced by what it decided when a run starts."""
    workers: int = 0
    """Parts of a step's batch that are computed at the same time, one to a core; 0 takes as many
    as there are cores, and is replaced by their number when a run starts."""
    activation_checkpointing: str = "auto"
    """`on` computes what is inside a block twice instead of keeping it; `auto` is like 0 above."""
    steps: int = 400
    """Optimizer steps; also what the learning rate's schedule is stretched over."""
    muon_lr: float = 0.02
    """Peak learning rate of the block matrices (Muon)."""
    momentum: float = 0.9
    """Share of the running mean of gradients that Muon keeps at a step (0 to 1)."""
    adam_lr: float = 0.003
    """Peak learning rate of tables, norms and biases (Adam)."""
    weight_decay: float = 0.0
    """Decay of the block matrices, times their learning rate, a step."""
    warmup_steps: int = 5
    """Steps in which the learning rates rise from 0 to their peak."""
    cooldown: float = 0.7
    """Last share of the run in which they fall to 0 in a straight line (0 to 1)."""

    averaging: float = 8.0
    """The model that is scored, shown and saved is a mean of the weights over about the last
    1 / `averaging` of the steps so far; 0 takes the newest weights as they are."""

    eval_every: int = 50
    """Steps between evaluations on the validation text."""
    eval_tokens: int = 65_536
    """Most validation tokens scored at a time; 0 scores all."""
    eval_block: int = 0
    """Tokens a block when scoring; 0 takes `block_size`."""
    sample_every: int = 100
    """Steps between samples; 0 takes none."""
    sample_tokens: int = 80
    """Tokens of a sample."""
    seconds: float = 0.0
    """Stop after this many seconds of training; 0 sets no limit."""
    target_val_loss: float = 0.0
    """Stop when the whole validation text scores this many nats a token or less; 0 sets none."""
    seed: int = 1
    """Decides initial weights, the order of batches, dropout and samples."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `mps`."""
    dtype: str = "auto"
    """`float32`, `bfloat16`, or `auto`: bfloat16 where the processor has it and it wins."""

    def __post_init__(self) -> None:
        for name, (low, high) in _WHOLE.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ConfigError(
                    f"{name} is a whole number from {low:,} to {high:,}; {value!r} is not. "
                    "Choose one in that range."
                )
        for name, (low, high) in _NUMBERS.items():
            value = getattr(self, name)
            good = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not good or math.isnan(value) or not low <= value <= high:
                raise ConfigError(
                    f"{name} is a number from {low:g} to {high:g}; {value!r} is not. "
                    "Choose one in that range."
                )
        for name, allowed in (
            ("preset", SIZES), ("tokenizer", TOKENIZERS), ("dtype", DTYPES),
            ("activation_checkpointing", SWITCH),
        ):  # fmt: skip
            if getattr(self, name) not in tuple(allowed):
                raise ConfigError(
                    f"{name} is one of {', '.join(allowed)}; {getattr(self, name)!r} is not."
                )
        for name in ("corpus", "out", "device"):
            if not isinstance(getattr(self, name), str):
                raise ConfigError(f"{name} is a text; {getattr(self, name)!r} is not.")
        if self.eval_block > self.block_size:
            raise ConfigError(
                f"eval_block is at most block_size ({self.block_size:,}), the longest context; "
                f"{self.eval_block:,} is more. Choose a smaller one, or 0 for block_size."
            )
        self.model(self.vocab_size).validate()

    def model(self, vocab_size: int) -> GPTConfig:
        """The shape of the model, for a tokenizer of `vocab_size` ids."""
        return GPTConfig(
            self.n_layer, self.n_head, self.n_embd, self.block_size, vocab_size, self.dropout
        )

    @property
    def tokens_per_step(self) -> int:
        """Tokens read in one optimizer step."""
        return self.batch_size * self.block_size

    def to_dict(self) -> dict:
        """All fields, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict) -> TrainConfig:
        """The config that `to_dict` wrote; fields it does not know are refused.

        Raises:
            ConfigError: an unknown field or a bad value.
        """
        unknown = set(data) - {field.name for field in fields(cls)}
        if unknown:
            raise ConfigError(f"Unknown training setting {sorted(unknown)[0]!r}. Remove it.")
        return cls(**data)
