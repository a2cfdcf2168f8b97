"""The loop learns, repeats itself, and stops when it should."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.trainers.small import begin, same, weights, whole_text_loss
from trainers import loop
from trainers.loop import TrainingFailed, TrainState, evaluate_loss, new_state, train, write_sample
from trainers.state import load_state, newest_state, save_state


@pytest.fixture(autouse=True)
def _report_every_step(monkeypatch) -> None:
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)


def test_loss_falls(tmp_path) -> None:
    config, corpus, state = begin(tmp_path, steps=60, eval_every=20)
    reports = list(train(state, corpus, config))
    assert [r.step for r in reports] == list(range(1, 61))
    scored = [r.val_loss for r in reports if r.val_loss is not None]
    assert len(scored) == 3
    assert scored[-1] < scored[0] < reports[0].train_loss
    assert scored[-1] < 3.0 < reports[0].train_loss  # ln 96 = 4.56 to begin with
    assert reports[-1].tokens == 60 * 4 * 16
    assert [r.step for r in reports if r.sample is not None] == [10, 20, 30, 40, 50, 60]


def test_seconds_never_go_back(tmp_path) -> None:
    config, corpus, state = begin(tmp_path)
    seconds = [r.seconds for r in train(state, corpus, config)]
    assert seconds == sorted(seconds)
    assert state.seconds == seconds[-1] > 0


def test_same_seed_same_weights(tmp_path) -> None:
    models = []
    for seed in (1, 1, 2):
        config, corpus, state = begin(tmp_path, dropout=0.2, seed=seed, steps=6)
        list(train(state, corpus, config))
        models.append(state.model)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"dtype": "bfloat16"}, {"tokenizer": "bpe", "vocab_size": 280}, {"averaging": 0.0},
        {"dropout": 0.0, "workers": 2}, {"short_block": 8, "short_share": 0.75},
        {"workers": 3, "micro_batch": 1, "activation_checkpointing": "on"},
    ],
)  # fmt: skip
def test_ten_and_ten_steps_equal_twenty(tmp_path, changes: dict) -> None:
    config, corpus, whole = begin(tmp_path, **({"dropout": 0.2} | changes))
    list(train(whole, corpus, config))

    part = new_state(config, corpus)
    for report in train(part, corpus, config):
        if report.step == 10:
            break
    save_state(tmp_path / "run", part, config, corpus.sha256)
    saved, files = newest_state(tmp_path / "run")
    resumed = new_state(config, corpus)
    torch.manual_seed(123456)  # whatever others did with the dice in between
    load_state(resumed, files, saved)
    assert (resumed.step, resumed.seconds) == (10, part.seconds)
    list(train(resumed, corpus, config))

    assert resumed.step == whole.step == 20
    assert same(resumed.model, whole.model)
    assert same(resumed.best_model, whole.best_model)
    for ours, theirs in zip(resumed.optimizers, whole.optimizers, strict=True):
        assert ours.tensors().keys() == theirs.tensors().keys()
        for key, tensor in ours.tensors().items():
            assert torch.equal(tensor, theirs.tensors()[key]), key


def test_muon_really_moves_the_matrices(tmp_path) -> None:
    """The update is close to orthogonal, which no Adam step is."""
    config, corpus, state = begin(tmp_path, warmup_steps=0, muon_lr=1.0)
    projection = state.model.transformer["h"][0].mlp.c_proj.weight  # (16, 64), starts at zero
    assert not projection.any()
    next(train(state, corpus, config))
    sizes = torch.linalg.svdvals(projection.detach())
    assert sizes.median() == pytest.approx(1, abs=0.2)
    assert sizes.max() < 1.5


def test_evaluation_and_samples_touch_nothing(tmp_path) -> None:
    config, corpus, state = begin(tmp_path, dropout=0.2)
    next(train(state, corpus, config))
    before, dice = weights(state.model), torch.random.get_rng_state()
    state.model.train()
    first = evaluate_loss(state.model, corpus, config)
    write_sample(state.model, corpus, config)
    assert evaluate_loss(state.model, corpus, config) == first
    assert state.model.training
    assert torch.equal(torch.random.get_rng_state(), dice)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(state.model), strict=True))


def test_evaluation_equals_the_plain_sum(tmp_path) -> None:
    config, corpus, state = begin(tmp_path, eval_tokens=0, eval_block=8)
    next(train(state, corpus, config))
    expected = whole_text_loss(state.model, corpus.val, 8)
    assert evaluate_loss(state.model, corpus, config)[0] == pytest.approx(expected, rel=1e-5)


def _until(state: TrainState, reports: Iterator, step: int) -> None:
    while state.step < step:
        next(reports)


def test_nan_loss_fails(tmp_path) -> None:
    config, corpus, state = begin(tmp_path)
    reports = train(state, corpus, config)
    _until(state, reports, 3)
    with torch.no_grad():
        state.model.transformer["wte"].weight.fill_(float("nan"))
    with pytest.raises(TrainingFailed, match="step 4"):
        next(reports)


def test_weights_ruined_by_the_very_last_step_fail_too(tmp_path) -> None:
    config, corpus, state = begin(tmp_path)
    with torch.no_grad():
        state.model.transformer["wte"].weight.fill_(float("nan"))
    with pytest.raises(TrainingFailed, match="validation loss"):
        evaluate_loss(state.model, corpus, config)


def test_target_loss_stops(tmp_path) -> None:
    config, corpus, state = begin(tmp_path, steps=500, target_val_loss=3.0, eval_tokens=16)
    *_, before, last = train(state, corpus, config)
    assert last.val_loss <= 3.0
    assert last.step < 500
    assert before.val_loss is None or before.val_loss > 3.0
    whole = (len(corpus.val) - 1) // 16 * 16  # scored on all blocks, not on eval_tokens
    assert whole > 16
    expected = whole_text_loss(state.best_model, corpus.val, 16)
    assert last.val_loss == pytest.approx(expected, rel=1e-5)


def test_seconds_limit(tmp_path, monkeypatch) -> None:
    now = iter(range(10_000))  # every look at the clock finds it a second later
    monkeypatch.setattr(loop.time, "perf_counter", lambda: float(next(now)))
    config, corpus, state = begin(tmp_path, steps=1000, seconds=30.0, sample_every=0)
    reports = list(train(state, corpus, config))
    assert 30 <= reports[-1].seconds < 40
    assert 1 < reports[-1].step < 30
    assert reports[-1].val_loss is not None
    assert reports[-1].learning_rate < reports[len(reports) // 2].learning_rate  # cooled down


def test_time_between_reports_does_not_count(tmp_path, monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    config, corpus, state = begin(tmp_path)
    for _ in train(state, corpus, config):
        now[0] += 1000  # a pause
    assert state.seconds == 0
