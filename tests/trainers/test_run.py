"""A run on its thread: what it says of itself is true at every moment.

The thread is led step by step: it hands over a report only when the test gives it a permit, and
says when it has dealt with one. Nothing sleeps.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from picogpt.checkpoint import load_checkpoint
from picogpt.errors import CheckpointError, ConfigError, RunError
from tests.trainers.small import config, corpora
from trainers import RunRegistry, TrainingRun, load_corpus, loop, new_state, watch
from trainers import run as module
from trainers.metrics import StepMetrics, best
from trainers.run import recorded
from trainers.state import load_state, newest_state

LONG = 60
"""Seconds until a test that waits in vain gives up."""


class Leash:
    """Stands in for `train`: the real one, held at every report."""

    def __init__(self) -> None:
        self.permits, self.handled = threading.Semaphore(0), threading.Semaphore(0)
        self.ruin_after = -1
        self.train = loop.train

    def __call__(self, state, corpus, config) -> Iterator[StepMetrics]:
        for report in self.train(state, corpus, config):
            assert self.permits.acquire(timeout=LONG)
            yield report
            if report.step == self.ruin_after:
                with torch.no_grad():
                    state.model.transformer["wte"].weight.fill_(float("nan"))
            self.handled.release()

    def step(self, count: int = 1) -> None:
        """Let so many reports pass, and wait until they were dealt with."""
        self.permits.release(count)
        for _ in range(count):
            assert self.handled.acquire(timeout=LONG)

    def loose(self) -> None:
        """Hold the run no longer."""
        self.permits.release(1_000_000)


@pytest.fixture
def leash(monkeypatch) -> Iterator[Leash]:
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    leash = Leash()
    monkeypatch.setattr(module, "train", leash)
    yield leash
    leash.loose()


@pytest.fixture
def registry(tmp_path) -> Iterator[RunRegistry]:
    registry = RunRegistry(tmp_path / "checkpoints", corpora(tmp_path / "corpora"))
    yield registry
    run = registry.active()
    if run is not None:
        run.stop()
        assert run.wait(LONG)


def finish(run: TrainingRun, leash: Leash) -> dict:
    leash.loose()
    assert run.wait(LONG)
    return run.snapshot()


def test_a_whole_run(registry, leash) -> None:
    run = registry.start(config())
    leash.loose()
    snapshots = list(watch(run, every=0.01))
    last = snapshots[-1]
    assert (last["state"], last["phase"], last["error"]) == ("finished", "", "")
    assert (last["name"], last["step"], last["seconds_left"]) == ("small-tiny", 20, None)
    reports = [r for snapshot in snapshots for r in snapshot["reports"]]
    assert [r.step for r in reports] == list(range(1, 21))  # each once
    assert last["saved_step"] == best(reports).step
    assert last["baselines"]["uniform"] > last["baselines"]["unigram"] > last["val_loss"] - 2
    assert recorded(run.folder)[-1].val_loss == pytest.approx(last["val_loss"], abs=1e-6)
    checkpoint = load_checkpoint(run.folder)
    assert checkpoint.verified
    assert checkpoint.meta["steps"] == best(reports).step
    assert checkpoint.meta["val_loss"] == pytest.approx(best(reports).val_loss, abs=1e-5)


def test_the_checkpoint_is_the_mean_of_the_weights(registry, leash) -> None:
    run = registry.start(config())
    finish(run, leash)
    assert best(run.snapshot()["reports"]).step == 20
    state = new_state(run.config, load_corpus(run.config, registry.corpora))
    load_state(state, *reversed(newest_state(run.folder)))
    shown = load_checkpoint(run.folder).model
    for p, mean, newest in zip(
        shown.parameters(), state.average.parameters(), state.model.parameters(), strict=True
    ):
        assert torch.equal(p, mean.half().float())
        assert not torch.equal(p, newest.half().float())


def test_snapshot_gives_only_what_is_new(registry, leash) -> None:
    run = registry.start(config())
    leash.step(3)
    snapshot = run.snapshot(2)
    assert [r.step for r in snapshot["reports"]] == [3]
    assert (snapshot["state"], snapshot["phase"], snapshot["step"]) == ("running", "training", 3)
    assert snapshot["saved_step"] == 0  # the untrained model
    assert snapshot["seconds_left"] > 0


def test_pause_is_reported_only_when_the_thread_waits(registry, leash) -> None:
    run = registry.start(config())
    leash.step(3)
    run.pause()
    assert (run.state, run.pausing) == ("running", True)  # still inside a step
    leash.permits.release()
    assert run.wait_paused(LONG)
    assert run.state == "paused"
    leash.permits.release(5)
    assert not run.wait(0.05)
    assert run.snapshot()["step"] == 4  # permits lie unused
    assert (run.folder / "training" / "step-4").is_dir()  # a pause saves
    run.resume()
    assert (run.state, run.pausing) == ("running", False)
    for _ in range(6):
        assert leash.handled.acquire(timeout=LONG)
    assert run.snapshot()["step"] == 9
    assert not run.wait_paused(0)


def test_pause_resume_pause_at_once(registry, leash) -> None:
    run = registry.start(config())
    run.pause()
    leash.permits.release()
    assert run.wait_paused(LONG)
    run.resume()
    run.pause()  # before the thread has woken up, perhaps
    assert (run.state, run.pausing) == ("running", True)
    leash.permits.release()
    assert run.wait_paused(LONG)
    assert run.snapshot()["step"] == 2


def test_pause_taken_back_before_it_came_about(registry, leash) -> None:
    run = registry.start(config())
    leash.step(1)
    run.pause()
    run.resume()
    leash.step(1)
    assert run.state == "running"


def test_asking_at_the_wrong_time(registry, leash) -> None:
    run = registry.start(config())
    with pytest.raises(RunError, match="is running, not paused"):
        run.resume()
    finish(run, leash)
    for ask in (run.pause, run.resume):
        with pytest.raises(RunError, match="is finished"):
            ask()
    run.stop()
    assert run.state == "finished"


def test_a_pause_asked_too_late_leaves_nobody_waiting(registry, leash) -> None:
    run = registry.start(config(steps=2))
    leash.step(1)
    run.pause()
    leash.permits.release()
    assert run.wait_paused(LONG)
    run.stop()
    assert run.wait(LONG)
    assert not run.wait_paused()
    assert not run.pausing


@pytest.mark.parametrize("paused", [False, True])
def test_stop_scores_and_saves(registry, leash, paused: bool) -> None:
    run = registry.start(config(eval_every=1000))
    leash.step(3)
    if paused:
        run.pause()
        leash.permits.release()
        assert run.wait_paused(LONG)
        run.stop()
    else:
        run.stop()
        assert run.state == "stopping"
        with pytest.raises(RunError, match="is stopping"):
            run.pause()
        leash.permits.release()
    assert run.wait(LONG)
    snapshot = run.snapshot()
    assert (snapshot["state"], snapshot["step"], snapshot["saved_step"]) == ("finished", 4, 4)
    assert snapshot["val_loss"] is not None
    assert load_checkpoint(run.folder).meta["steps"] == 4
    assert (run.folder / "training" / "step-4").is_dir()


def test_nan_keeps_the_last_good_weights_and_says_so(registry, leash) -> None:
    run = registry.start(config(eval_every=5))
    leash.ruin_after = 7
    snapshot = finish(run, leash)
    assert snapshot["state"] == "failed"
    assert "last good weights are kept" in snapshot["error"]
    assert snapshot["saved_step"] == 5
    checkpoint = load_checkpoint(run.folder)
    assert checkpoint.meta["steps"] == 5
    assert all(torch.isfinite(p).all() for p in checkpoint.model.parameters())
    assert registry.active() is None


def test_any_other_failure_is_told_too(registry, leash, monkeypatch) -> None:
    def broken(*_: object) -> dict:
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(module, "baselines", broken)
    run = registry.start(config())
    assert run.wait(LONG)
    assert (run.state, run.snapshot()["error"]) == ("failed", "ZeroDivisionError: a bug of ours")
    assert registry.active() is None


def test_bad_text_fails_with_a_sentence_and_leaves_no_folder(registry) -> None:
    (registry.corpora / "short.txt").write_text("too short", encoding="utf-8")
    for name, reason in (("none", "no corpus 'none'"), ("short", "at least 17 of each")):
        run = registry.start(config(corpus=name))
        assert run.wait(LONG)
        assert run.state == "failed"
        assert reason in run.snapshot()["error"]
        assert not run.folder.exists()


def test_second_start_names_the_holder(registry, leash) -> None:
    run = registry.start(config(out="first"))
    leash.step(2)
    with pytest.raises(RunError, match=r"first is training here \(step 2 of 20\)"):
        registry.start(config(out="second"))
    with pytest.raises(RunError, match="first is training here"):
        registry.resume("first")
    assert registry.active() is registry.get("first") is registry.latest() is run
    finish(run, leash)
    second = registry.start(config(out="second"))
    assert registry.latest() is second
    finish(second, leash)


def test_names(registry, leash) -> None:
    for name in ("../x", "a/b", ".hidden", "", "a b", "x" * 81, "C:\\x"):
        if name:
            with pytest.raises(RunError, match="not a name"):
                registry.start(config(out=name))
        with pytest.raises(RunError, match="not a name"):
            registry.resume(name)
    with pytest.raises(RunError, match="no run 'nobody'"):
        registry.resume("nobody")
    leash.loose()
    for expected in ("small-tiny", "small-tiny-2"):
        run = registry.start(config(steps=1))
        assert run.name == expected
        assert run.wait(LONG)
    with pytest.raises(RunError, match="exists already"):
        registry.start(config(out="small-tiny"))


def test_checkpoint_loads_at_every_moment(registry, leash) -> None:
    run = registry.start(config(steps=30, eval_every=1, sample_every=0))
    leash.step(1)
    leash.loose()
    loads = 0
    while not run.wait(0):
        assert load_checkpoint(run.folder).verified
        loads += 1
    assert loads > 0
    assert run.state == "finished"


# --- resuming ---------------------------------------------------------------------------------


def saved_tensors(run: TrainingRun, step: int) -> list[bytes]:
    folder = run.folder / "training" / f"step-{step}"
    return [(folder / f"{name}.safetensors").read_bytes() for name in ("model", "optimizer")]


def test_resumed_run_equals_an_uninterrupted_one(registry, leash) -> None:
    whole = registry.start(config(out="whole", dropout=0.2))
    leash.step(19)
    leash.permits.release()
    assert whole.wait(LONG)
    parts = registry.start(config(out="parts", dropout=0.2))
    leash.step(6)
    parts.stop()
    leash.permits.release()
    assert parts.wait(LONG)
    again = RunRegistry(registry.checkpoints, registry.corpora)  # as after a restart
    resumed = again.resume("parts")
    leash.loose()
    assert resumed.wait(LONG)
    assert resumed.state == "finished", resumed.snapshot()["error"]
    assert saved_tensors(resumed, 20) == saved_tensors(whole, 20)
    steps = [r.step for r in recorded(resumed.folder)]
    assert steps == sorted(steps)
    assert set(steps) == set(range(1, 21))
    assert [r.step for r in resumed.snapshot()["reports"]] == steps  # the page shows every point


def test_after_a_crash_reports_beyond_the_saved_state_go(registry, leash) -> None:
    run = registry.start(config())
    leash.step(3)
    run.pause()
    leash.permits.release()
    assert run.wait_paused(LONG)
    run.stop()
    assert run.wait(LONG)
    kept = recorded(run.folder)
    with open(run.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
        later = dataclasses.replace(kept[-1], step=9).to_json()
        file.write(f"{later}\n{later[:20]}")
    (run.folder / "training" / ".step-9.tmp").mkdir()
    resumed = registry.resume(run.name, steps=5)
    snapshot = finish(resumed, leash)
    assert [r.step for r in snapshot["reports"]] == [r.step for r in kept] + [5]
    assert not (run.folder / "training" / ".step-9.tmp").exists()


def test_what_cannot_be_resumed(registry, leash) -> None:
    run = registry.start(config())
    finish(run, leash)
    with pytest.raises(RunError, match="done all its 20 steps"):
        registry.resume(run.name)
    with pytest.raises(ConfigError, match="depth"):
        registry.resume(run.name, depth=3)
    (registry.checkpoints / "bare").mkdir()
    with pytest.raises(CheckpointError, match="no saved training state"):
        registry.resume("bare")


def test_a_used_up_time_limit(registry, leash) -> None:
    run = registry.start(config(seconds=1e-6))
    leash.permits.release()
    assert run.wait(LONG)
    assert run.snapshot()["step"] == 1
    with pytest.raises(RunError, match="used all its 1e-06 seconds"):
        registry.resume(run.name)
    resumed = registry.resume(run.name, seconds=0.0)
    assert finish(resumed, leash)["step"] == 20


def test_another_text_is_refused(registry, leash) -> None:
    run = registry.start(config(steps=1))
    finish(run, leash)
    path = registry.corpora / "tiny.txt"
    path.write_text(path.read_text(encoding="utf-8") + "\nAnn likes the sea.", encoding="utf-8")
    resumed = registry.resume(run.name, steps=2)
    assert resumed.wait(LONG)
    assert resumed.state == "failed"
    assert "another version of tiny" in resumed.snapshot()["error"]


def test_states_are_saved_along_the_way(registry, leash, monkeypatch) -> None:
    monkeypatch.setattr(module, "SAVE_SECONDS", 0.0)
    run = registry.start(config())
    leash.step(5)
    folder: Path = run.folder / "training"
    assert sorted(p.name for p in folder.iterdir()) == ["step-4", "step-5"]
    state = json.loads((folder / "step-5" / "state.json").read_text(encoding="utf-8"))
    assert state["best_val_loss"] == run.snapshot()["val_loss"]
