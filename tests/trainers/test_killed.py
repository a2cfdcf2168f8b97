"""A run that is killed and resumed ends with the very bytes of one that was left alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainers.small import corpora
from trainers.presets import PRESETS

ROOT = Path(__file__).parents[2]
LONG = 300
"""Seconds until a process that does not end is given up."""
#: Steps before a run is killed, and as many after. The two largest take 0.3 and 0.8 s a step.
HALVES = dict.fromkeys(PRESETS, 20) | {"conversation": 8, "large": 4}
SETTINGS = {
    "batch_size": 2, "block_size": 32, "short_block": 16, "dropout": 0.1, "vocab_size": 300,
    "eval_tokens": 128, "sample_tokens": 4,
}  # fmt: skip

#: Saves half-way, says so, and waits when it would save again: it never gets to its end.
DOOMED = """
import sys, threading
from trainers import cli, loop, run

half, usual = int(sys.argv.pop(1)), run.save_state

def save_state(folder, state, *rest):
    if state.step == half:
        usual(folder, state, *rest)
        print("saved", flush=True)
    elif state.step > half:
        threading.Event().wait()

run.SAVE_SECONDS, run.save_state = 0.0, save_state
sys.exit(cli.main(sys.argv[1:]))
"""


def python(*words: str) -> subprocess.Popen:
    """A Python process in the project's folder, on one core."""
    return subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(process: subprocess.Popen) -> None:
    _, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, err


def states(run: Path) -> set[str]:
    return {path.name for path in (run / "training").iterdir()}


def tensors(run: Path, step: int) -> dict[str, bytes]:
    """The files of a saved state that hold weights, their mean and the optimizers' memory."""
    return {p.name: p.read_bytes() for p in (run / f"training/step-{step}").glob("*.safetensors")}


@pytest.fixture
def folder(tmp_path) -> Iterator[Path]:
    """A folder that goes when it is no longer needed: the runs of `large` take a gigabyte."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nothing can be killed here")
@pytest.mark.parametrize(("name", "half"), HALVES.items())
def test_killed_and_resumed_as_if_nothing_had_been(folder: Path, name: str, half: int) -> None:
    """The preset's own layers, heads and width, on short rows."""
    where = [f"--checkpoints={folder}", f"--corpora={corpora(folder / 'texts')}"]
    settings = SETTINGS | {"eval_every": half, "sample_every": half}
    flags = [name, "--corpus=tiny", f"--steps={2 * half}", "--device=cpu", *where]
    flags += [part for field, value in settings.items() for part in ("--set", f"{field}={value}")]

    finish(python("-m", "trainers", *flags, "--out=whole"))

    doomed = python("-c", DOOMED, str(half), *flags, "--out=killed")
    assert doomed.stdout.readline() == "saved\n", doomed.communicate()[1]
    doomed.kill()  # SIGKILL: nothing can be tidied up
    doomed.communicate(timeout=LONG)
    assert doomed.returncode == -signal.SIGKILL
    assert states(folder / "killed") == {f"step-{half}"}

    finish(python("-m", "trainers", "resume", "killed", *where))
    assert states(folder / "killed") == {f"step-{half}", f"step-{2 * half}"}
    whole, resumed = tensors(folder / "whole", 2 * half), tensors(folder / "killed", 2 * half)
    assert {"model.safetensors", "optimizer.safetensors"} <= whole.keys() == resumed.keys()
    for file, data in whole.items():
        assert resumed[file] == data, file
