"""Sizes of a model: what is accepted, and that a GPT keeps its own."""

from __future__ import annotations

import math

import pytest

from picogpt import GPT, GPTConfig, PicoGPTError
from picogpt.config import SIZES, named_config
from picogpt.errors import ConfigError


def test_a_config_is_mutable_and_the_model_keeps_its_own_copy() -> None:
    config = GPTConfig()
    config.n_layer = 1
    model = GPT(config)
    config.n_layer = 6
    assert model.config.n_layer == len(model.transformer["h"]) == 1


def test_validation_happens_when_the_model_is_made_not_before() -> None:
    config = GPTConfig(n_embd=10, n_head=3)
    with pytest.raises(ConfigError, match=r"n_embd \(10\).*n_head \(3\)"):
        GPT(config)
    config.n_head = 2
    GPT(config)


@pytest.mark.parametrize("field", ["n_layer", "n_head", "n_embd", "block_size", "vocab_size"])
@pytest.mark.parametrize("value", [0, -1, 10**9, 2.0, math.nan, "4", None, True])
def test_a_size_outside_its_range_is_named_with_value_and_limit(field: str, value: object) -> None:
    config = GPTConfig()
    setattr(config, field, value)
    with pytest.raises(ConfigError) as error:
        config.validate()
    message = str(error.value)
    assert message.startswith(f"{field} is a whole number from 1 to ") and repr(value) in message


@pytest.mark.parametrize("value", [1.0, -0.1, math.nan, math.inf, "0.1", None])
def test_dropout_outside_its_range_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="dropout is a number from 0 to below 1"):
        GPTConfig(dropout=value).validate()


def test_config_errors_are_both_ours_and_value_errors() -> None:
    assert issubclass(ConfigError, PicoGPTError) and issubclass(ConfigError, ValueError)


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 1), (2, 3, 12, 7, 11), (3, 4, 128, 128, 256)])
def test_parameters_counts_what_the_model_holds(sizes: tuple[int, ...]) -> None:
    config = GPTConfig(*sizes)
    assert config.parameters() == GPT(config).num_parameters()


@pytest.mark.parametrize(
    ("size", "vocab_size", "millions"),
    [("small", 100, 0.62), ("basic", 1024, 3.5), ("fast", 4096, 5.1), ("conversation", 8192, 13.9),
     ("large", 1024, 25.9)],
)  # fmt: skip
def test_the_named_sizes_are_those_of_the_table(
    size: str, vocab_size: int, millions: float
) -> None:
    parameters = named_config(size, vocab_size).parameters()
    assert parameters / 1e6 == pytest.approx(millions, rel=0.03)


def test_an_unknown_size_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ConfigError) as error:
        named_config("huge", 256)
    assert all(name in str(error.value) for name in ("huge", *SIZES))
