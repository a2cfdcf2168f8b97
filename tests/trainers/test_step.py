"""A step may be cut, computed twice or kept short: it stays the step it was."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from picogpt import GPT
from picogpt.model import attend
from tests.fakes import random_ids, tiny_model
from tests.trainers.small import begin, config, gradients, same, weights
from trainers import loop
from trainers.loop import evaluate_loss, new_state, one_step, train
from trainers.state import load_state, newest_state, save_state


@pytest.fixture(autouse=True)
def _report_every_step(monkeypatch) -> None:
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)


# --- in parts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("micro_batch", [1, 2, 4, 5, 99])
def test_parts_add_up_to_the_whole_batch(tmp_path, workers: int, micro_batch: int) -> None:
    recipe, corpus, state = begin(tmp_path, batch_size=5, workers=workers, micro_batch=5)
    loss, whole = gradients(state, corpus, recipe)
    cut = dataclasses.replace(recipe, micro_batch=micro_batch)
    lengths = []
    for model in state.workers.models:
        model.register_forward_pre_hook(lambda _, args: lengths.append(len(args[0])))
    cut_loss, parts = gradients(state, corpus, cut)
    assert (sum(lengths), max(lengths) <= micro_batch) == (5, True)
    assert cut_loss == pytest.approx(loss, abs=1e-6)
    for a, b in zip(parts, whole, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


# --- computed twice ---------------------------------------------------------------------------


def after_steps(tmp_path, **changes: object) -> GPT:
    """The model of a short run."""
    recipe, corpus, state = begin(tmp_path, n_layer=3, steps=5, **changes)
    list(train(state, corpus, recipe))
    return state.model


@pytest.mark.parametrize(
    "changes",
    [{}, {"dropout": 0.3}, {"dtype": "bfloat16", "dropout": 0.3}, {"workers": 2, "micro_batch": 1}],
)
def test_activation_checkpointing_changes_no_bit(tmp_path, changes: dict) -> None:
    kept = after_steps(tmp_path, activation_checkpointing="off", **changes)
    twice = after_steps(tmp_path, activation_checkpointing="on", **changes)
    assert same(kept, twice)


def kept_numbers(model: GPT, ids: Tensor) -> int:
    """How many numbers a forward pass leaves for the backward pass, weights left out."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.hidden(ids)
    return sum(kept.values())


def test_activation_checkpointing_keeps_little_and_computes_twice(tmp_path) -> None:
    recipe, corpus, state = begin(tmp_path, n_layer=3, activation_checkpointing="on")
    calls = []
    for block in state.model.transformer["h"]:
        block.mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    gradients(state, corpus, recipe)
    assert len(calls) == 2 * 3
    calls.clear()
    evaluate_loss(state.model, corpus, dataclasses.replace(recipe, eval_tokens=16))
    assert len(calls) == 3  # there is no backward pass to compute them for
    ids = random_ids((4, 16), corpus.tokenizer.vocab_size)
    few = kept_numbers(state.model, ids)
    state.model.recompute = False
    assert few < kept_numbers(state.model, ids) / 5


# --- attention --------------------------------------------------------------------------------


def softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Each token's weights written out: (B, H, T, D)."""
    T, S, D = q.shape[2], k.shape[2], q.shape[3]
    rows = []
    for t in range(T):
        seen = S - T + t + 1
        scores = (q[:, :, t, None] * k[:, :, :seen]).sum(-1) / D**0.5  # (B, H, seen)
        rows.append((scores.softmax(-1)[..., None] * v[:, :, :seen]).sum(2))
    return torch.stack(rows, dim=2)


@pytest.mark.parametrize(("new", "seen"), [(6, 6), (1, 6), (4, 6), (1, 1)])
def test_attention_written_out(new: int, seen: int) -> None:
    dice = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, 3, n, 8, generator=dice) for n in (new, seen, seen))
    torch.testing.assert_close(attend(q, k, v), softmax_attention(q, k, v))
    for tensor in (q, k, v):
        tensor.requires_grad_()
    ours = torch.autograd.grad(attend(q, k, v).square().sum(), (q, k, v))
    plain = torch.autograd.grad(softmax_attention(q, k, v).square().sum(), (q, k, v))
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_attention_in_bfloat16_is_computed_in_float32() -> None:
    dice = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, 3, 6, 8, generator=dice).bfloat16() for _ in range(3))
    expected = softmax_attention(q.float(), k.float(), v.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attend(q, k, v)
    torch.testing.assert_close(found.float(), expected.bfloat16().float(), rtol=0.01, atol=1e-3)


def test_a_model_of_bfloat16_weights_runs() -> None:
    """On a CPU attention goes to float32 and must come back."""
    model, ids = tiny_model(), random_ids((2, 9), 300)
    expected = model(ids)
    found = model.bfloat16()(ids)
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected).abs().mean() < 0.1 * expected.std()


def test_float32_logits_agree_with_autocast() -> None:
    model, ids = tiny_model(), random_ids((2, 9), 300)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(ids)
    expected = model(ids)
    assert (found.float() - expected).abs().mean() < 0.1 * expected.std()


# --- short at first ---------------------------------------------------------------------------


def batches(monkeypatch, tmp_path, **changes: object) -> list[tuple[int, int]]:
    """(rows, tokens a row) of each step of a run of ten."""
    taken, usual = [], loop.training_batch

    def spying(ids, step, rows, block, seed, starts):
        assert step == len(taken)
        taken.append((rows, block))
        return usual(ids, step, rows, block, seed, starts)

    monkeypatch.setattr(loop, "training_batch", spying)
    recipe, corpus, state = begin(tmp_path, steps=10, **changes)
    reports = list(train(state, corpus, recipe))
    assert [r.tokens for r in reports] == [64 * n for n in range(1, 11)]
    assert all(rows * block == 64 for rows, block in taken)  # as many tokens as ever
    return taken


SHORT, USUAL = (16, 4), (4, 16)


def test_the_first_part_of_a_run_has_short_rows(monkeypatch, tmp_path) -> None:
    """In three steps of four; from the seventh step on there are none."""
    taken = batches(monkeypatch, tmp_path, short_block=4, short_share=0.7)
    assert taken == [USUAL, *[SHORT] * 3, USUAL, *[SHORT] * 2, *[USUAL] * 3]


@pytest.mark.parametrize(
    "changes", [{"short_block": 0}, {"short_block": 16}, {"short_block": 64},
                {"short_block": 4, "short_share": 0.0}],
)  # fmt: skip
def test_a_run_without_a_short_part(monkeypatch, tmp_path, changes: dict) -> None:
    assert batches(monkeypatch, tmp_path, **changes) == [USUAL] * 10


def test_a_run_that_is_short_to_the_end(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(loop, "LONG_EVERY", 1000)
    taken = batches(monkeypatch, tmp_path, short_block=8, short_share=1.0)
    assert taken == [USUAL] + [(8, 8)] * 9


def test_with_a_time_limit_the_short_part_is_a_share_of_the_time(monkeypatch, tmp_path) -> None:
    clock = [0.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: clock[0])
    recipe, corpus, state = begin(
        tmp_path, steps=1000, seconds=10.0, short_block=4, short_share=0.35
    )
    blocks, usual = [], loop.training_batch

    def spying(ids, step, rows, block, *rest):
        blocks.append(block)
        clock[0] += 1.0  # a step takes a second
        return usual(ids, step, rows, block, *rest)

    monkeypatch.setattr(loop, "training_batch", spying)
    list(train(state, corpus, recipe))
    # 0, 0.1, 0.2 and 0.3 of the time were over; the first of four is never short.
    assert blocks == [16] + [4] * 3 + [16] * 6


def test_parts_of_short_rows_hold_as_many_tokens(tmp_path) -> None:
    recipe, corpus, state = begin(tmp_path, micro_batch=2, short_block=4)
    state.step, sizes = 1, []
    state.model.register_forward_pre_hook(lambda _, args: sizes.append(tuple(args[0].shape)))
    for progress in (0.0, 1.0):
        one_step(state, corpus, recipe, state.model.device, progress)
    assert sizes == [(8, 4), (8, 4), (2, 16), (2, 16)]


# --- the mean of the weights ------------------------------------------------------------------


def test_average_by_hand(tmp_path) -> None:
    recipe, _, state = begin(tmp_path, averaging=2.0)
    numbers = []
    for p in state.average.parameters():
        p.fill_(0.0)
    for step, value in enumerate((1.0, 2.0, 6.0), start=1):
        with torch.no_grad():
            for p in state.model.parameters():
                p.fill_(value)
        state.step = step
        state.update_average(recipe.averaging)
        numbers.append({float(x) for p in state.average.parameters() for x in p.unique()})
    # Shares 2/3, 2/4 and 2/5: 0 -> 2/3, 2/3 -> 4/3, 4/3 -> 4/3 + 2/5 * 14/3.
    for found, expected in zip(numbers, (2 / 3, 4 / 3, 3.2), strict=True):
        assert list(found) == pytest.approx([expected])


def test_the_average_of_a_run(tmp_path) -> None:
    recipe, corpus, state = begin(tmp_path, averaging=3.0, steps=6)
    mean = [w.double() for w in weights(state.model)]  # what it starts from
    for report in train(state, corpus, recipe):
        share = 3.0 / (report.step + 3.0)
        now = weights(state.model)
        mean = [(1 - share) * m + share * w.double() for m, w in zip(mean, now, strict=True)]
        for a, b in zip(weights(state.average), mean, strict=True):
            torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-6)
    assert not same(state.average, state.model)


def test_what_is_scored_and_shown_is_the_average(tmp_path, monkeypatch) -> None:
    written = []
    monkeypatch.setattr(loop, "write_sample", lambda model, *_: written.append(model) or "text")
    recipe, corpus, state = begin(tmp_path, steps=10)
    assert state.best_model is state.average
    last = list(train(state, corpus, recipe))[-1]
    assert written[-1] is state.average
    assert last.val_loss == evaluate_loss(state.average, corpus, recipe)[0]
    assert last.val_loss != evaluate_loss(state.model, corpus, recipe)[0]
    assert not any(p.requires_grad for p in state.average.parameters())


def test_no_averaging(tmp_path) -> None:
    recipe, corpus, state = begin(tmp_path, averaging=0.0, steps=5)
    assert state.average is None
    assert state.best_model is state.model
    last = list(train(state, corpus, recipe))[-1]
    assert last.val_loss == evaluate_loss(state.model, corpus, recipe)[0]
    save_state(tmp_path / "run", state, recipe, corpus.sha256)
    again = new_state(recipe, corpus)
    load_state(again, *reversed(newest_state(tmp_path / "run")))
    assert again.average is None
    assert same(again.model, state.model)


def test_averaging_does_not_change_the_training(tmp_path) -> None:
    models = []
    for averaging in (0.0, 8.0):
        recipe, corpus, state = begin(tmp_path, averaging=averaging, steps=6)
        list(train(state, corpus, recipe))
        models.append(state.model)
    assert same(*models)


def test_the_average_is_saved_and_restored(tmp_path) -> None:
    recipe, corpus, state = begin(tmp_path, steps=6)
    reports = train(state, corpus, recipe)
    while state.step < 4:
        next(reports)
    save_state(tmp_path / "run", state, recipe, corpus.sha256)
    again = new_state(recipe, corpus)
    load_state(again, *reversed(newest_state(tmp_path / "run")))
    assert same(again.average, state.average)
    assert same(again.model, state.model)
    assert not same(again.average, again.model)
    list(reports)
    list(train(again, corpus, recipe))
    assert same(again.average, state.average)


def test_a_run_that_starts_to_average_begins_with_its_weights(tmp_path) -> None:
    recipe, corpus, state = begin(tmp_path, averaging=0.0, steps=3)
    list(train(state, corpus, recipe))
    save_state(tmp_path / "run", state, recipe, corpus.sha256)
    again = new_state(config(averaging=4.0), corpus)
    load_state(again, *reversed(newest_state(tmp_path / "run")))
    assert same(again.average, state.model)
