"""Muon against singular value decompositions, and its steps against numbers worked by hand.

Shapes: N matrices, R rows, C columns.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from tests.fakes import random_ids, tiny_model
from tests.trainers.small import config
from trainers import muon as module
from trainers.muon import COEFFICIENTS, Muon, orthogonalize
from trainers.optim import build_optimizers

SHAPES = [(1, 8, 8), (3, 16, 16), (2, 8, 32), (5, 24, 40), (1, 1, 7)]
#: (shape, dtype, how far singular values may be from 1). A tiny matrix may be further off in
#: bfloat16, now and then by a half, so those that are tried are not tiny.
CASES = [(shape, torch.float32, 0.1) for shape in SHAPES] + [
    ((2, 64, 64), torch.bfloat16, 0.2), ((1, 48, 96), torch.bfloat16, 0.2),
]  # fmt: skip


def matrix(shape: tuple[int, ...], lowest: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Matrices (N, R, C) whose singular values go from 1 to `lowest`, and the nearest orthogonal.

    Returns:
        U S V^T and U V^T; their factors are random.
    """
    n, rows, columns = shape
    dice = torch.Generator().manual_seed(seed)
    u = torch.linalg.qr(torch.randn(n, rows, rows, generator=dice, dtype=torch.float64))[0]
    v = torch.linalg.qr(torch.randn(n, columns, rows, generator=dice, dtype=torch.float64))[0]
    sizes = torch.logspace(0, torch.log10(torch.tensor(lowest)).item(), rows, dtype=torch.float64)
    return (u * sizes) @ v.mT, u @ v.mT


def sizes(matrices: Tensor) -> Tensor:
    """Singular values of each."""
    return torch.linalg.svdvals(matrices.detach().double())


def near_one(matrices: Tensor, scale: float = 1.0, slack: float = 0.1) -> bool:
    """Whether all singular values are the scale, up to `slack` of it."""
    return bool(((sizes(matrices) / scale - 1).abs() <= slack).all())


# --- orthogonalize ----------------------------------------------------------------------------


def test_the_polynomials_reach_as_far_as_they_say() -> None:
    x = torch.linspace(0.005 / module.MARGIN, 1, 100_001, dtype=torch.float64)
    for a, b, c in COEFFICIENTS:
        x = a * x + b * x**3 + c * x**5
    assert 0.9 < x.min() < x.max() < 1.1


@pytest.mark.parametrize(("shape", "dtype", "slack"), CASES)
def test_it_is_nearly_the_orthogonal_factor(
    shape: tuple[int, ...], dtype: torch.dtype, slack: float
) -> None:
    given, orthogonal = matrix(shape, lowest=0.2)
    found = orthogonalize(given.float(), dtype)
    assert found.dtype == dtype
    assert found.shape == shape
    assert near_one(found, slack=slack)
    assert sizes(found.double() - orthogonal).max() < slack  # the directions are right too


@pytest.mark.parametrize("shape", SHAPES[:-1])
def test_small_singular_values_become_one_too(shape: tuple[int, ...]) -> None:
    given, orthogonal = matrix(shape, lowest=0.011)
    smallest = sizes(given)[:, -1] / given.norm(dim=(1, 2))
    assert (smallest > 0.005).all()
    assert (smallest < 0.01).all()
    found = orthogonalize(given.float(), torch.float32)
    assert near_one(found)
    assert sizes(found.double() - orthogonal).max() < 0.1


def test_whatever_the_size() -> None:
    given = matrix((2, 8, 12), 0.1)[0].float()
    usual = orthogonalize(given, torch.float32)
    for scale in (1e-6, 1e6):
        torch.testing.assert_close(orthogonalize(scale * given, torch.float32), usual)


def test_a_matrix_without_full_rank_does_not_grow() -> None:
    given = torch.ones(1, 6, 9)  # one singular value, and five of 0
    found = sizes(orthogonalize(given, torch.float32))[0]
    assert found[0] == pytest.approx(1, abs=0.1)
    assert found[1:].max() < 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_stays_nothing(dtype: torch.dtype) -> None:
    given = torch.zeros(2, 4, 8)
    given[1] = matrix((1, 4, 8), 0.5)[0][0]
    found = orthogonalize(given, dtype)
    assert not found[0].any()
    assert near_one(found[1:], slack=0.5)  # its neighbour is none the worse


# --- Muon -------------------------------------------------------------------------------------


def stepped(gradient: Tensor, fused: bool = False, **settings: object) -> Tensor:
    """How one step of rate 1 and without momentum moves a matrix that was 0."""
    p = torch.zeros_like(gradient).requires_grad_()
    p.grad = gradient.clone()
    settings = {"lr": 1.0, "momentum": 0.0, "dtype": torch.float32} | settings
    Muon([p], [p] if fused else [], **settings).step()
    return -p.detach()


def test_lying_and_square_matrices_move_by_the_rate() -> None:
    for shape in ((6, 6), (6, 24)):
        given, orthogonal = matrix((1, *shape), 0.3)
        found = stepped(given[0].float(), lr=0.02)
        assert near_one(found[None], 0.02)
        assert sizes(found[None].double() / 0.02 - orthogonal).max() < 0.1


def test_tall_matrices_move_more() -> None:
    given, orthogonal = matrix((1, 6, 24), 0.3)
    found = stepped(given[0].T.float().contiguous())  # (24, 6): four times as tall as wide
    assert near_one(found[None], 2.0)
    assert sizes(found[None].double() / 2 - orthogonal.mT).max() < 0.1


def test_query_key_and_value_are_orthogonal_each_for_itself() -> None:
    # So different in size that together they could not be.
    query, key, value = (matrix((1, 6, 6), 0.3, seed)[0][0].float() for seed in range(3))
    fused = torch.cat([query, 1e-3 * key, 1e3 * value])  # (18, 6)
    found = stepped(fused, fused=True)
    for part, alone in zip(found.chunk(3), (query, key, value), strict=True):
        assert near_one(part[None])
        torch.testing.assert_close(part, stepped(alone))
    whole = stepped(fused)  # as one tall matrix
    assert near_one(whole[None], 3**0.5)
    assert not near_one(whole[None, :6])


def test_the_model_tells_muon_which_are_fused() -> None:
    model = tiny_model(n_layer=2, n_embd=16)
    before = [block.attn.c_attn.weight.detach().clone() for block in model.transformer["h"]]
    optimizer = build_optimizers(model, config(muon_lr=1.0))[0]
    optimizer.dtype = torch.float32
    ids = random_ids((4, 33), 300)
    model(ids[:, :-1], ids[:, 1:])[1].backward()
    optimizer.step()
    for block, old in zip(model.transformer["h"], before, strict=True):
        for part in (block.attn.c_attn.weight - old).chunk(3):  # (C, C)
            found = sizes(part[None])[0]
            assert found.median() == pytest.approx(1, abs=0.1)
            assert found.max() < 1.1


def test_momentum_by_hand(monkeypatch) -> None:
    monkeypatch.setattr(module, "orthogonalize", lambda matrices, dtype: matrices)
    p = torch.ones(2, 2, requires_grad=True)
    muon = Muon([p], lr=0.1, momentum=0.9, weight_decay=0.5, dtype=torch.float32)
    # Gradient 1: the mean is 0.1, and 0.9 of the way from the gradient to it is 0.19. The weight
    # shrinks by 0.1 * 0.5 of itself first: 0.95 - 0.1 * 0.19.
    p.grad = torch.ones(2, 2)
    muon.step()
    torch.testing.assert_close(p.detach(), torch.full((2, 2), 0.931))
    # Gradient -1: the mean is 0.1 - 0.1 * 1.1 = -0.01, the direction -1 + 0.9 * 0.99 = -0.109.
    # The weight: 0.931 * 0.95 + 0.0109.
    p.grad = -torch.ones(2, 2)
    muon.step()
    torch.testing.assert_close(p.detach(), torch.full((2, 2), 0.89535))
    torch.testing.assert_close(muon.tensors()["momentum.0"], torch.full((2, 2), -0.01))
    # The rate may change: 0.89535 * (1 - 0.2 * 0.5) - 0.2 * (0 + 0.9 * (-0.009 - 0)).
    muon.lr, p.grad = 0.2, torch.zeros(2, 2)
    muon.step()
    torch.testing.assert_close(p.detach(), torch.full((2, 2), 0.805815 + 0.00162))


def many(each=module.one_by_one, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Matrices of several shapes after three steps."""
    dice = torch.Generator().manual_seed(5)
    shapes = [(8, 8), (32, 8), (24, 8), (8, 32), (8, 8), (8, 8), (5, 9), (8, 32)]
    params = [torch.randn(shape, generator=dice).requires_grad_() for shape in shapes]
    muon = Muon(params, [params[2]], dtype=dtype, weight_decay=0.1, each=each)
    for _ in range(3):
        for p in params:
            p.grad = torch.randn(p.shape, generator=dice)
        muon.step()
    return [p.detach() for p in params]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_threads_change_no_bit(dtype: torch.dtype) -> None:
    threads = []

    def each(work, items) -> list:
        threads.append(len(items))
        return list(pool.map(work, items))

    with ThreadPoolExecutor(3, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        found = many(each, dtype)
    assert min(threads) > 1  # there was something to share
    assert all(torch.equal(a, b) for a, b in zip(found, many(dtype=dtype), strict=True))


def test_together_is_as_each_alone() -> None:
    """Matrices of one shape go through it as a stack."""
    dice = torch.Generator().manual_seed(6)
    params = [torch.zeros(6, 8, requires_grad=True) for _ in range(5)]
    for p in params:
        p.grad = torch.randn(6, 8, generator=dice)
    Muon(params, lr=1.0, momentum=0.0, dtype=torch.float32).step()
    for p in params:
        torch.testing.assert_close(-p.detach(), stepped(p.grad), rtol=1e-4, atol=1e-5)
