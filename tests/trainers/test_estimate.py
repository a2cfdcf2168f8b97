"""Estimates: what is exact is exact, and the rest grows with what it grows with."""

from __future__ import annotations

import pytest

from picogpt.errors import RunError
from tests.trainers.small import config
from trainers import estimate as module
from trainers.estimate import estimate
from trainers.presets import preset
from trainers.registry import RunRegistry


@pytest.fixture(autouse=True)
def _known_machine(monkeypatch) -> None:
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
    assert cost.memory == 16 * cost.parameters + 4 * 64 * (18 * 16 + 300)


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


def test_a_run_that_cannot_fit_is_refused_before_it_starts(tmp_path):
    huge = preset(
        "large",
        corpus="stories",
        n_layer=48,
        n_embd=4096,
        n_head=64,
        batch_size=4096,
        dtype="float32",
    )
    registry = RunRegistry(tmp_path / "checkpoints", tmp_path)
    with pytest.raises(RunError, match=r"needs about .* GB of memory and the machine has"):
        registry.start(huge)
    assert registry.latest() is None
