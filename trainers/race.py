"""Ours against the plain recipe, from the start of a process to its end.

Each run is a process of its own, and they take turns, so that a machine that slows down slows all
of them. The plain recipe runs to its end; ours has to reach the loss it ended at, measured in the
same way: on the whole validation text, in blocks that do not overlap.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from picogpt.errors import PicoGPTError
from trainers.card import command
from trainers.config import TrainConfig
from trainers.presets import preset
from trainers.reference import SMALL

POINTS = 8
"""Scores of a plain run, for its curve; their time does not count."""


@dataclass
class Finish:
    """How one run went."""

    recipe: str
    """`plain` or `ours`."""
    seed: int
    seconds: float = 0.0
    """From the start of the process to its end, the model saved."""
    steps: int = 0
    tokens: int = 0
    val_loss: float = 0.0
    """At the end, nats a token."""
    target: float | None = None
    """What ours had to reach; None for the plain one."""
    curve: list[tuple[float, float]] = field(default_factory=list)
    """(seconds of training, validation loss)."""

    @property
    def reached(self) -> bool:
        """Whether it got where it had to."""
        return self.target is None or self.val_loss <= self.target


def plain_config(name: str, corpus: str, seed: int, device: str, steps: int = 0) -> TrainConfig:
    """The plain recipe beside a preset: its shape and batch, for `small` nanoGPT's own."""
    config = preset(name, corpus=corpus, seed=seed, device=device, dtype="float32")
    changes = dict(SMALL) if name == "small" else {"short_block": 0}
    changes |= {"steps": steps} if steps else {}
    config = dataclasses.replace(config, **changes)
    return dataclasses.replace(config, eval_every=max(1, -(-config.steps // POINTS)))


def run_plain(config: TrainConfig, corpora: Path) -> Finish:
    """Run the plain recipe in a process of its own.

    Raises:
        PicoGPTError: it failed; says how.
    """
    words = ["trainers.reference", json.dumps(config.to_dict()), str(corpora)]
    lines, seconds = _run(words)
    last = lines[-1]
    scoring = lines[-2]["scoring_seconds"] if len(lines) > 1 else 0.0
    curve = [(line["seconds"], line["val_loss"]) for line in lines]
    return Finish(
        "plain", config.seed, seconds - scoring, last["step"], last["tokens"], last["val_loss"],
        None, curve,
    )  # fmt: skip


def run_ours(config: TrainConfig, target: float, corpora: Path) -> Finish:
    """Run our recipe, by the command a person would type, until it has the target loss.

    Raises:
        PicoGPTError: it failed; says how.
    """
    with tempfile.TemporaryDirectory() as folder:
        aim = dataclasses.replace(config, out="race", target_val_loss=target)
        words = [*_words(aim), "--json", "--checkpoints", folder, "--corpora", str(corpora)]
        lines, seconds = _run(words)
    scored = [line for line in lines if "val_loss" in line and "event" not in line]
    last = scored[-1]
    curve = [(line["seconds"], line["val_loss"]) for line in scored]
    return Finish(
        "ours", config.seed, seconds, last["step"], last["tokens"], last["val_loss"], target, curve
    )


def _words(config: TrainConfig) -> list[str]:
    """The command line of a run, without the interpreter."""
    return shlex.split(command(config))[2:]


def _run(words: list[str]) -> tuple[list[dict], float]:
    """Run a module: the JSON objects it printed, and seconds from its start to its end."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, encoding="utf-8"
    )
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise PicoGPTError(f"A run of the race failed: {done.stderr.strip()[-500:]}")
    return [json.loads(line) for line in done.stdout.splitlines()], seconds
