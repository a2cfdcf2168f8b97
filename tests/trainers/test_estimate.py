"""Estimates: what is exact is exact, and the rest grows with what it grows with."""

from __future__ import annotations

import pytest

from tests.trainers.small import config
from trainers import estimate as module
from trainers.estimate import estimate, memory_needed


@pytest.fixture(autouse=True)
def _known_machine(monkeypatch) -> None:
    monkeypatch.setattr(module, "available_cores", lambda: 2)
    monkeypatch.setattr(module, "matmul_rate", lambda device, bfloat16: 1e9)
    monkeypatch.setattr(module, "gelu_rate", lambda device: 1e8)


def test_by_hand() -> None:
    # one layer of width 16, context 16, 4 sequences, 100 ids, 20 steps
    cost = estimate(config())
    assert cost.tokens == 4 * 16 * 20
    assert cost.parameters == 100 * 16 + 16 * 16 + 12 * 256 + 13 * 16 + 2 * 16
    assert cost.flops == 6 * (12 * 256 + 100 * 16 + 2 * 16 * 16) * cost.tokens
    gelus = (16 * module.STREAM + 100 * module.LOGIT) * cost.tokens
    assert cost.seconds == pytest.approx(cost.flops / 1e9 + gelus / 1e8)
    # Weights, two gradients (one a core), at most two moments, and the mean of the weights; each
    # of 64 tokens keeps 18 rows of width 16 and three of logits.
    assert cost.memory == 4 * (6 * cost.parameters + 64 * (18 * 16 + 300))


def test_memory_by_hand() -> None:
    parameters, kept = 5168, 18 * 16 + 300  # numbers in all, and for a token
    for changes, copies, tokens in (
        ({"workers": 1}, 5, 64),
        ({"workers": 1, "averaging": 0.0}, 4, 64),
        ({"workers": 3}, 7, 96),  # one of three has two rows, and room for them all is counted
        ({"workers": 1, "micro_batch": 1}, 5, 16),
        ({"workers": 2, "micro_batch": 1}, 6, 32),
        ({"workers": 2, "micro_batch": 99}, 6, 64),
    ):
        found = memory_needed(config(**changes))
        assert found == 4 * (copies * parameters + tokens * kept), changes
    # Two layers computed twice: the input of each, and what is inside one.
    deep = config(workers=1, n_layer=2, activation_checkpointing="on")
    parameters += 12 * 256 + 13 * 16
    assert memory_needed(deep) == 4 * (5 * parameters + 64 * (2 * 16 + kept))
    # Dropout writes attention weights down: 4 heads' worth of a context for each of 2 heads.
    dropped = config(workers=1, dropout=0.1)
    assert memory_needed(dropped) - memory_needed(config(workers=1)) == 4 * 64 * 4 * 2 * 16


def test_what_costs_more() -> None:
    plain = estimate(config())
    dropped = estimate(config(dropout=0.1))
    assert dropped.seconds > plain.seconds
    assert dropped.memory > plain.memory
    assert estimate(config(), vocab_size=200).parameters == plain.parameters + 100 * 16
    assert estimate(config(steps=40)).seconds == pytest.approx(2 * plain.seconds)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_yardstick_measures_something(bfloat16: bool) -> None:
    assert module.time_matmul("cpu", bfloat16, repeats=1) > 0
