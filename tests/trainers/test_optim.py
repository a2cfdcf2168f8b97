"""Who trains which parameter, and at what rate."""

from __future__ import annotations

import pytest
import torch

from tests.fakes import tiny_model
from tests.trainers.small import config
from trainers.adam import Adam
from trainers.muon import Muon
from trainers.optim import build_optimizers, rate, set_rate


def test_every_parameter_is_in_exactly_one_group() -> None:
    model = tiny_model()
    muon, adam = build_optimizers(model, config())
    in_muon, in_adam = ({id(p) for p in optimizer.params} for optimizer in (muon, adam))
    named = {id(p): name for name, p in model.named_parameters()}
    assert in_muon | in_adam == named.keys()
    assert not in_muon & in_adam
    assert len(muon.params) + len(adam.params) == len(named)
    matrices = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    assert {named[i] for i in in_muon} == {n for n in named.values() if n.endswith(matrices)}
    assert isinstance(muon, Muon)
    assert isinstance(adam, Adam)


def test_the_recipe_reaches_the_optimizers() -> None:
    recipe = config(muon_lr=0.03, adam_lr=0.004, momentum=0.8, weight_decay=0.1)
    muon, adam = build_optimizers(tiny_model(), recipe)
    assert (muon.lr, muon.momentum, muon.weight_decay, adam.lr) == (0.03, 0.8, 0.1, 0.004)


def test_schedule_by_hand() -> None:
    recipe = config(warmup_steps=4, cooldown=0.5, steps=10)
    shares = [rate(recipe, step, step / 10) for step in range(10)]
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 0.8, 0.6, 0.4, 0.2])
    assert rate(recipe, 10, 1.0) == 0
    assert rate(recipe, 10, 1.5) == 0  # a time limit may be overrun by a step


def test_schedule_without_ends() -> None:
    recipe = config(warmup_steps=0, cooldown=0)
    assert [rate(recipe, step, step / 10) for step in range(10)] == [1] * 10


def test_set_rate() -> None:
    recipe = config(muon_lr=0.02, adam_lr=0.003)
    optimizers = build_optimizers(tiny_model(), recipe)
    set_rate(optimizers, recipe, 0.5)
    assert [o.lr for o in optimizers] == [0.01, 0.0015]


def test_a_rate_of_zero_moves_nothing() -> None:
    model = tiny_model()
    optimizers = build_optimizers(model, config(weight_decay=0.5))
    set_rate(optimizers, config(), 0.0)
    before = [p.detach().clone() for p in model.parameters()]
    model(torch.arange(8)[None], torch.arange(8)[None])[1].backward()
    for optimizer in optimizers:
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
