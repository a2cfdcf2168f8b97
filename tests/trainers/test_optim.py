"""Who trains which parameter, and at what rate."""

from __future__ import annotations

import pytest
import torch

from tests.fakes import tiny_model
from tests.trainers.small import config
from trainers.optim import build_optimizers, rate, set_rate, zero_output_projections


def test_every_parameter_is_in_exactly_one_group() -> None:
    model = tiny_model()
    muon, adam = build_optimizers(model, config())
    in_muon, in_adam = (
        {id(p) for group in o.param_groups for p in group["params"]} for o in (muon, adam)
    )
    named = {id(p): name for name, p in model.named_parameters()}
    assert in_muon | in_adam == named.keys()
    assert not in_muon & in_adam
    matrices = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    assert {named[i] for i in in_muon} == {n for n in named.values() if n.endswith(matrices)}
    assert isinstance(muon, torch.optim.Muon)
    assert isinstance(adam, torch.optim.AdamW)


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
    assert [o.param_groups[0]["lr"] for o in optimizers] == [0.01, 0.0015]


def test_blocks_begin_as_the_identity() -> None:
    model = tiny_model()
    for block in model.transformer["h"]:
        for projection in (block.attn.c_proj, block.mlp.c_proj):
            torch.nn.init.zeros_(projection.bias)
    zero_output_projections(model)
    x = torch.randn(1, 5, 16)
    assert torch.equal(model.transformer["h"][0](x, None, None), x)
