"""A run with a target stops when the whole validation text scores it, and not before."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from picogpt.checkpoint import load_checkpoint
from tests.trainers.small import config, corpora, make_text, whole_text_loss
from trainers import RunRegistry, TrainConfig, load_corpus, loop
from trainers.metrics import StepMetrics, best

LONG = 120
"""Seconds until a test that waits in vain gives up."""
BLOCK = 8


@dataclass
class Score:
    """One call of `evaluate_loss`."""

    whole: bool
    loss: float


@pytest.fixture
def scores(monkeypatch) -> list[Score]:
    """Every score of a run whose glances take in two blocks, the first and the last."""
    monkeypatch.setattr(loop, "GLANCE_TOKENS", 2 * BLOCK)
    taken, usual = [], loop.evaluate_loss

    def spying(model, corpus, recipe, max_tokens=None, each=loop.one_by_one):
        loss, bits = usual(model, corpus, recipe, max_tokens, each)
        taken.append(Score(max_tokens == 0, loss))
        return loss, bits

    monkeypatch.setattr(loop, "evaluate_loss", spying)
    return taken


def uneven_text() -> str:
    """A text whose validation part is far easier in its first and last sentence than between."""
    dice = random.Random(4)
    easy = "Ann saw the sea. "
    hard = ["".join(dice.choice("abcdefghij") for _ in range(len(easy) - 1)) + " "
            for _ in range(200)]  # fmt: skip
    train = "".join(dice.choice([easy, hard[i % 200]]) for i in range(900))
    return train + easy + "".join(hard[:98]) + easy


def run_to(
    folder: Path, target: float, text: str | None = None, **changes: object
) -> tuple[TrainConfig, list[StepMetrics], float, float]:
    """A run to a target.

    Returns:
        Its recipe and reports, the loss that the checkpoint says it has, and the one it has.
    """
    registry = RunRegistry(folder / "checkpoints", corpora(folder / "corpora", text))
    recipe = config(target_val_loss=target, eval_block=BLOCK, sample_every=0, **changes)
    run = registry.start(recipe)
    assert run.wait(LONG)
    assert run.state == "finished", run.snapshot()["error"]
    checkpoint = load_checkpoint(run.folder)
    val = load_corpus(recipe, registry.corpora, checkpoint.tokenizer).val
    found = whole_text_loss(checkpoint.model, val, BLOCK)
    return run.config, run.snapshot()["reports"], checkpoint.meta["val_loss"], found


@pytest.mark.parametrize(
    ("text", "target"), [(make_text(), 2.7), (uneven_text(), 2.6)], ids=["even", "easy ends"]
)
def test_it_stops_at_the_target_on_the_whole_text(
    tmp_path, scores: list[Score], text: str, target: float
) -> None:
    recipe, reports, claimed, found = run_to(
        tmp_path, target, text, steps=2000, eval_every=4, adam_lr=0.01, warmup_steps=10
    )
    last = reports[-1]
    assert last.step < recipe.steps
    # What the checkpoint holds scores what the last report says; its weights are float16.
    assert last.val_loss <= target
    assert found == pytest.approx(last.val_loss, abs=2e-3)
    assert claimed == pytest.approx(last.val_loss, abs=1e-5)
    assert best(reports) is last
    # The whole text was scored now and then, and every time before it was not there yet.
    *before, final = [score.loss for score in scores if score.whole]
    assert final == last.val_loss
    assert all(loss > target for loss in before)
    assert len(before) + 1 < sum(not score.whole for score in scores)


def test_a_run_that_never_gets_there_ends_with_the_whole_score(tmp_path, scores) -> None:
    _, reports, _, _ = run_to(tmp_path, 0.01, steps=20)
    assert [score.whole for score in scores] == [False, True, False, False, False, True]
    assert reports[-1].val_loss == scores[-1].loss


def test_a_run_without_a_target_scores_as_many_tokens_as_it_is_told(tmp_path, scores) -> None:
    run_to(tmp_path, 0.0, steps=10)
    assert len(scores) == 2
    assert not any(score.whole for score in scores)
