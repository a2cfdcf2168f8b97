"""The five presets: a size, a tokenizer and a recipe under one name."""

from __future__ import annotations

from dataclasses import dataclass

from picogpt.config import SIZES
from picogpt.errors import ConfigError
from trainers.config import TrainConfig


@dataclass(frozen=True)
class Preset:
    """A starting point that can be changed field by field."""

    config: TrainConfig
    purpose: str
    """What it is for, in one line."""


def _preset(name: str, purpose: str, **recipe: object) -> Preset:
    n_layer, n_head, n_embd, block_size = SIZES[name]
    config = TrainConfig(
        preset=name, n_layer=n_layer, n_head=n_head, n_embd=n_embd, block_size=block_size,
        **recipe,
    )  # fmt: skip
    return Preset(config, purpose)


PRESETS: dict[str, Preset] = {
    "small": _preset(
        "small", "first try, half a minute on two cores",
        tokenizer="char", batch_size=8, short_block=64, steps=900, muon_lr=0.025, eval_every=50,
        sample_every=100, sample_tokens=160,
    ),
    "basic": _preset(
        "basic", "your own text on a laptop",
        tokenizer="bpe", vocab_size=1024, batch_size=4, short_block=64, steps=1200,
        eval_every=100, sample_every=200,
    ),
    "fast": _preset(
        "fast", "chat on a CPU in minutes", corpus="talk",
        tokenizer="bpe", vocab_size=4096, batch_size=8, steps=2500, eval_every=200,
        sample_every=400, warmup_steps=20,
    ),
    "conversation": _preset(
        "conversation", "the chat model; seconds on a GPU", corpus="talk",
        tokenizer="bpe", vocab_size=8192, batch_size=16, steps=3000, eval_every=200,
        sample_every=400, warmup_steps=20,
    ),
    "large": _preset(
        "large", "best quality", tokenizer="bpe", vocab_size=1024, batch_size=16, short_block=64,
        steps=1500, eval_every=100, sample_every=200, warmup_steps=20,
    ),
}  # fmt: skip


def preset(name: str, **changes: object) -> TrainConfig:
    """The config of a preset with some fields changed.

    Raises:
        ConfigError: there is no such preset or field, or a changed value is outside its range.
    """
    if name not in PRESETS:
        raise ConfigError(f"There is no preset {name!r}. Choose one of: {', '.join(PRESETS)}.")
    return TrainConfig.from_dict(PRESETS[name].config.to_dict() | changes)
