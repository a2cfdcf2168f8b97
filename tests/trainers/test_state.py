"""Saved states: the newest two, and the one before when the newest is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from picogpt.errors import CheckpointError
from tests.trainers.small import begin
from trainers import loop
from trainers.loop import new_state, train
from trainers.state import FILES, load_state, newest_state, save_state


@pytest.fixture
def saved(tmp_path, monkeypatch) -> Path:
    """A run's folder in which steps 2, 3, 4 and 5 were saved."""
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    config, corpus, state = begin(tmp_path, steps=5, sample_every=0)
    for report in train(state, corpus, config):
        state.best_val_loss = 4.0 / report.step
        if report.step > 1:
            save_state(tmp_path / "run", state, config, corpus.sha256)
    return tmp_path / "run"


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "training").iterdir())


def test_only_two_are_kept(saved) -> None:
    assert names(saved) == ["step-4", "step-5"]
    found, _ = newest_state(saved)
    assert (found["step"], found["best_val_loss"]) == (5, 0.8)
    assert found["config"]["corpus"] == "tiny"


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_damaged_newest(saved, name: str, how: str) -> None:
    path = saved / "training" / "step-5" / name
    data = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-9] if how == "cut" else data[:-9] + b"#" + data[-8:])
    assert newest_state(saved)[0]["step"] == 4


def test_a_manifest_of_another_kind_is_damage(saved) -> None:
    for text in ("[]", "3", "{}", '{"../../x": "0"}'):
        (saved / "training" / "step-5" / "manifest.json").write_text(text, encoding="utf-8")
        assert newest_state(saved)[0]["step"] == 4


def test_saving_again_drops_a_damaged_later_state(saved, tmp_path) -> None:
    (saved / "training" / "step-5" / "state.json").unlink()
    config, corpus, state = begin(tmp_path)
    load_state(state, newest_state(saved)[1], newest_state(saved)[0])
    assert state.step == 4
    save_state(saved, state, config, corpus.sha256)
    assert names(saved) == ["step-4"]


def test_nothing_whole(saved, tmp_path) -> None:
    for step in ("step-4", "step-5"):
        (saved / "training" / step / "manifest.json").unlink()
    for folder in (saved, tmp_path / "nowhere"):
        with pytest.raises(CheckpointError, match="no saved training state"):
            newest_state(folder)


def test_left_overs_are_not_states(saved) -> None:
    for name in (".step-9.tmp", "step-9.tmp", "step-", "notes"):
        (saved / "training" / name).mkdir()
    assert newest_state(saved)[0]["step"] == 5


def test_another_shape_is_refused(saved, tmp_path) -> None:
    found, files = newest_state(saved)
    config, corpus, _ = begin(tmp_path)
    for changes in ({"n_embd": 8}, {"n_layer": 2}):
        other = config.from_dict(config.to_dict() | changes)
        with pytest.raises(CheckpointError, match="does not fit"):
            load_state(new_state(other, corpus), files, found)


def test_ruined_weights_are_not_saved(saved, tmp_path) -> None:
    config, corpus, state = begin(tmp_path)
    with torch.no_grad():
        state.model.transformer["wpe"].weight[0, 0] = float("inf")
    state.step = 6
    with pytest.raises(CheckpointError, match="not finite"):
        save_state(saved, state, config, corpus.sha256)
    assert names(saved) == ["step-4", "step-5"]


def test_no_best_loss_yet(saved, tmp_path) -> None:
    config, corpus, state = begin(tmp_path)
    save_state(tmp_path / "other", state, config, corpus.sha256)
    found, files = newest_state(tmp_path / "other")
    json.loads(files["state.json"], parse_constant=pytest.fail)  # JSON has no Infinity
    load_state(state, files, found)
    assert state.best_val_loss == float("inf")
