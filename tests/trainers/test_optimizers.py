"""Adam against PyTorch's, and what an optimizer remembers."""

from __future__ import annotations

import pytest
import torch

from picogpt.errors import CheckpointError
from tests.fakes import random_ids, tiny_model
from tests.trainers.small import config, same
from trainers.adam import Adam
from trainers.optim import build_optimizers
from trainers.optimizer import Optimizer


def test_adam_is_pytorchs() -> None:
    dice = torch.Generator().manual_seed(1)
    shapes = [(7, 5), (11,), (3, 2, 4), (1,)]
    ours = [torch.randn(shape, generator=dice).requires_grad_() for shape in shapes]
    theirs = [p.detach().clone().requires_grad_() for p in ours]
    adam = Adam(ours, lr=0.01)
    torchs = torch.optim.AdamW(theirs, lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0)
    for step in range(20):
        adam.lr = torchs.param_groups[0]["lr"] = 0.01 * (1 + step % 3)
        for a, b in zip(ours, theirs, strict=True):
            # Large and tiny ones, and some that are 0.
            grad = torch.randn(a.shape, generator=dice) * 10.0 ** (step % 5 - 3)
            a.grad = grad * (torch.rand(a.shape, generator=dice) < 0.8)
            b.grad = a.grad.clone()
        adam.step()
        torchs.step()
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_adam_by_hand() -> None:
    """In the first step every number moves by the rate, against its gradient's sign."""
    p = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    p.grad = torch.tensor([5.0, -1e-3, 0.0])
    Adam([p], lr=0.1).step()
    torch.testing.assert_close(p.detach(), torch.tensor([0.9, 2.1, 3.0]), rtol=0, atol=1e-5)


def take_steps(model, optimizers: list[Optimizer], seeds: range) -> None:
    for seed in seeds:
        ids = random_ids((2, 9), 300, seed)
        model(ids[:, :-1], ids[:, 1:])[1].backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_what_is_kept_is_all_that_matters() -> None:
    model, twin = tiny_model(), tiny_model(seed=1)
    optimizers = build_optimizers(model, config())
    take_steps(model, optimizers, range(3))
    twin.load_state_dict(model.state_dict())
    others = build_optimizers(twin, config())
    for ours, theirs in zip(optimizers, others, strict=True):
        theirs.load({name: tensor.clone() for name, tensor in ours.tensors().items()})
        assert theirs.steps == 3
    take_steps(model, optimizers, range(3, 6))
    take_steps(twin, others, range(3, 6))
    assert same(model, twin)
    for ours, theirs in zip(optimizers, others, strict=True):
        assert ours.tensors().keys() == theirs.tensors().keys()
        assert all(torch.equal(t, theirs.tensors()[k]) for k, t in ours.tensors().items())


def test_loading_copies() -> None:
    model = tiny_model()
    for optimizer in build_optimizers(model, config()):
        given = {name: torch.ones_like(t) for name, t in optimizer.tensors().items()}
        optimizer.load(given)
        for tensor in given.values():
            tensor.fill_(7)
        assert all((t == 1).all() for t in optimizer.tensors().values())


@pytest.mark.parametrize("which", [0, 1], ids=["muon", "adam"])
def test_those_of_another_model_are_refused(which: int) -> None:
    optimizer = build_optimizers(tiny_model(), config())[which]
    own = optimizer.tensors()
    wider = build_optimizers(tiny_model(n_embd=24), config())[which].tensors()
    deeper = build_optimizers(tiny_model(n_layer=3), config())[which].tensors()
    other = build_optimizers(tiny_model(), config())[1 - which].tensors()
    missing = {name: t for name, t in own.items() if name != "steps"}
    more = own | {"momentum.99": torch.zeros(1)}
    for tensors in (wider, deeper, other, missing, more, {}):
        with pytest.raises(CheckpointError, match="made for other weights"):
            optimizer.load({name: t + 1 for name, t in tensors.items()})
    assert optimizer.steps == 0
    assert not any(tensor.any() for tensor in optimizer.tensors().values())
