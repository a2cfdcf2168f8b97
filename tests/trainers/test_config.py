"""Every bad value is refused by name; the presets are what the table says."""

from __future__ import annotations

import shlex

import pytest

from picogpt.errors import ConfigError
from picogpt.model import GPT
from trainers.card import command
from trainers.cli import build_parser, config_from
from trainers.config import TrainConfig
from trainers.estimate import estimate, usual_vocab
from trainers.presets import PRESETS, preset


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("preset", "huge"), ("preset", 5), ("corpus", 7), ("out", None), ("device", 0),
        ("tokenizer", "word"), ("vocab_size", 259), ("vocab_size", 65_536), ("n_layer", 0),
        ("n_layer", 2.0), ("n_head", True), ("n_embd", 7), ("n_embd", "128"), ("block_size", 4),
        ("dropout", 0.95), ("dropout", -0.1), ("dropout", "0"), ("batch_size", 0), ("steps", 0),
        ("steps", 10_000_001), ("muon_lr", 2), ("muon_lr", float("nan")),
        ("adam_lr", float("inf")), ("weight_decay", -1), ("warmup_steps", -1), ("cooldown", 1.1),
        ("eval_every", 0), ("eval_tokens", -1), ("eval_block", 129), ("eval_block", -1),
        ("sample_every", -1), ("sample_tokens", 0), ("seconds", -1), ("seconds", True),
        ("target_val_loss", -0.5), ("target_val_loss", None), ("seed", -1), ("seed", 2**31),
        ("dtype", "float16"), ("short_block", -1), ("short_block", 4097), ("short_share", 1.1),
        ("micro_batch", -1), ("micro_batch", 2.0), ("workers", 257), ("workers", -1),
        ("activation_checkpointing", True), ("activation_checkpointing", "maybe"),
        ("momentum", 1.0), ("momentum", -0.1), ("averaging", -1), ("averaging", float("nan")),
    ],
)  # fmt: skip
def test_bad_values_are_named(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field) as caught:
        TrainConfig(**{field: value})
    assert "\n" not in str(caught.value)


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match=r"n_embd \(100\) must be a multiple of n_head \(3\)"):
        TrainConfig(n_embd=100, n_head=3)


def test_dict_round_trip() -> None:
    config = preset("basic", dropout=0.25, seed=9)
    assert TrainConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="learning_rate"):
        TrainConfig.from_dict({"learning_rate": 1})


def test_preset_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ConfigError, match=r"no preset 'tiny'.*small, basic"):
        preset("tiny")
    with pytest.raises(ConfigError, match="depth"):
        preset("small", depth=3)


@pytest.mark.parametrize(
    ("name", "shape", "millions"),
    [
        ("small", (3, 4, 128, 128), 0.62), ("basic", (4, 4, 256, 256), 3.5),
        ("fast", (5, 8, 256, 256), 5.0), ("conversation", (6, 6, 384, 256), 13.8),
        ("large", (8, 8, 512, 256), 25.8),
    ],
)  # fmt: skip
def test_preset_sizes(name: str, shape: tuple[int, ...], millions: float) -> None:
    config = preset(name)
    assert (config.n_layer, config.n_head, config.n_embd, config.block_size) == shape
    count = estimate(config).parameters
    assert count == pytest.approx(millions * 1e6, rel=0.02)
    assert count == GPT(config.model(usual_vocab(config))).num_parameters()


@pytest.mark.parametrize("name", list(PRESETS))
@pytest.mark.parametrize(
    "changes",
    [
        {"out": "x"},
        {"out": "x", "corpus": "/my texts/it's one.txt", "seed": 7, "device": "cpu"},
        {"out": "x", "steps": 12, "dropout": 0.3, "seconds": 1.5, "target_val_loss": 2.25,
         "dtype": "float32", "cooldown": 0.1, "eval_block": 64, "muon_lr": 1e-05},
        {"corpus": "-n", "tokenizer": "bpe", "vocab_size": 300},
    ],
)  # fmt: skip
def test_the_card_repeats_the_run(name: str, changes: dict) -> None:
    config = preset(name, **changes)
    python, dash_m, module, *flags = shlex.split(command(config))
    assert (python, dash_m, module) == ("python", "-m", "trainers")
    assert config_from(build_parser().parse_args(flags)) == config
