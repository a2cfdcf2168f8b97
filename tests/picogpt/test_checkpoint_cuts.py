"""Checkpoint folders: whatever a cut interrupts, a folder that loads is left."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from picogpt import (
    CharTokenizer,
    load_checkpoint,
    save_checkpoint,
)
from picogpt import manifest as manifest_module
from picogpt.files import sweep
from tests.fakes import tiny_checkpoint, tiny_model


class Cut(BaseException):
    """The power fails."""


def save_until_cut(monkeypatch: pytest.MonkeyPatch, at: int, save: Callable[[], object]) -> bool:
    """Run `save` until its `at`-th rename, sync or removal, which does not happen; True if cut.

    A cut at a sync also loses half of what was written to that file.
    """
    calls = 0

    def counted(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal calls
            calls += 1
            if calls < at:
                return real(*args, **kwargs)
            if name == "fsync" and stat.S_ISREG(os.fstat(args[0]).st_mode):
                os.ftruncate(args[0], os.fstat(args[0]).st_size // 2)
            raise Cut

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", counted("replace", os.replace))
        patch.setattr(os, "fsync", counted("fsync", os.fsync))
        patch.setattr(shutil, "rmtree", counted("rmtree", shutil.rmtree))
        try:
            save()
        except Cut:
            return True
    return False


def state_of(folder: Path) -> int:
    """Which of the saves the folder holds: `steps` of the manifest, agreeing with the weights."""
    ckpt = load_checkpoint(folder)
    assert ckpt.verified
    steps = ckpt.meta["steps"]
    expected = tiny_model(vocab_size=300, seed=steps).lm_head.weight.half().float()
    assert torch.equal(ckpt.model.lm_head.weight, expected)
    return steps


def saver(folder: Path, steps: int) -> Callable[[], object]:
    return lambda: tiny_checkpoint(folder, {"steps": steps}, seed=steps)


def test_a_cut_at_any_point_of_a_save_leaves_a_folder_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    for at in range(1, 100):
        folder = tmp_path / str(at) / "tiny"
        saver(folder, 1)()
        cut = save_until_cut(monkeypatch, at, saver(folder, 2))
        seen.append(state_of(folder))
        if not cut:
            break
        sweep(folder)
        assert state_of(folder) == seen[-1]
        saver(folder, 3)()
        assert state_of(folder) == 3
        assert not list(folder.glob("*.tmp")) and not list(folder.glob("*.next"))
    assert seen == sorted(seen) and set(seen) == {1, 2} and len(seen) > 5


def test_two_cuts_in_a_row_leave_a_folder_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = 0
    while first := first + 1:
        start = tmp_path / f"{first}"
        saver(start / "tiny", 1)()
        if not save_until_cut(monkeypatch, first, saver(start / "tiny", 2)):
            break
        held = state_of(start / "tiny")
        second = 0
        while second := second + 1:
            folder = tmp_path / f"{first}-{second}" / "tiny"
            shutil.copytree(start / "tiny", folder)
            cut = save_until_cut(monkeypatch, second, saver(folder, 3))
            assert state_of(folder) in ((held, 3) if cut else (3,))
            if not cut:
                break
        assert second > 5
    assert first > 5


def test_a_cut_while_a_folder_without_manifest_gets_one_leaves_it_loadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in range(1, 100):
        folder = tiny_checkpoint(tmp_path / str(at) / "tiny", {"steps": 1}, seed=1)
        (folder / "pico.json").unlink()
        cut = save_until_cut(monkeypatch, at, saver(folder, 2))
        assert load_checkpoint(folder).meta.get("steps") in (None, 2)
        if not cut:
            break
    assert at > 5 and state_of(folder) == 2


@pytest.mark.parametrize("exists", [True, False])
def test_a_cut_while_a_folder_is_made_or_replaced_whole_is_undone_or_finished_by_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    tokenizer = CharTokenizer.train("abc")
    seen = []
    for at in range(1, 100):
        folder = tmp_path / str(at) / "tiny"
        folder.parent.mkdir()
        if exists:
            save_checkpoint(folder, tiny_model(vocab_size=3), tokenizer)
        cut = save_until_cut(monkeypatch, at, saver(folder, 2))
        sweep(folder.parent)
        assert {path.name for path in folder.parent.iterdir()} <= {"tiny"}
        seen.append(load_checkpoint(folder).meta.get("steps", 1) if folder.exists() else 0)
        assert sweep(folder.parent) == []
        if not cut:
            break
    assert seen == sorted(seen) and set(seen) == {int(exists), 2} and len(seen) > 5


def test_a_save_between_two_reads_of_the_loader_is_no_damage(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = manifest_module.read_manifest

    def save_first(path: Path) -> dict:
        monkeypatch.setattr(manifest_module, "read_manifest", real)
        tiny_checkpoint(folder, {"steps": 5}, seed=5)
        return real(path)

    monkeypatch.setattr(manifest_module, "read_manifest", save_first)
    assert state_of(folder) == 5
