"""Showing a run in a terminal: a bar, lines, or JSON; and what Ctrl-C does."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Protocol

from tqdm import tqdm

from picogpt.cli import common
from picogpt.errors import RunError
from trainers.config import MOST_STEPS
from trainers.corpus import CORPORA
from trainers.metrics import StepMetrics, best
from trainers.registry import CHECKPOINTS
from trainers.run import TrainingRun, watch


class Screen(Protocol):
    """Somewhere to show a run."""

    def update(self, snapshot: dict) -> None:
        """Show what is new in a snapshot."""

    def close(self) -> None:
        """Leave the place tidy."""


def follow(run: TrainingRun, *, json: bool, samples: bool) -> int:
    """Show a run until it ends.

    The first Ctrl-C has it score and save; the second leaves at once.

    Args:
        run: a run that was started.
        json: print one JSON object a line on stdout and nothing else there.
        samples: print what the model writes.

    Returns:
        0 when it is done, 130 when it was stopped.

    Raises:
        RunError: the run failed; says why.
        KeyboardInterrupt: Ctrl-C was pressed twice.
    """
    for note in run.notes:
        common.say(note)
    screen = _choose_screen(run, json, samples)
    try:
        with _interruptible() as interrupted:
            for snapshot in watch(run):
                screen.update(snapshot)
                if interrupted.is_set() and snapshot["state"] in ("running", "paused"):
                    common.say("Stopping: the model is scored and saved. Ctrl-C again leaves now.")
                    run.stop()
    finally:
        screen.close()
    if snapshot["state"] == "failed":
        raise RunError(snapshot["error"])
    stopped = interrupted.is_set() and snapshot["step"] < snapshot["steps"]
    _finish(run, json, stopped)
    return 130 if stopped else 0


@contextlib.contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Inside, the first Ctrl-C sets the event, and the second is a KeyboardInterrupt.

    The handler only sets a flag: it may interrupt this thread where it holds the run's lock.
    """
    interrupted = threading.Event()

    def handle(signum: int, frame: FrameType | None) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # only the main thread may handle signals
        return
    before = signal.signal(signal.SIGINT, handle)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _finish(run: TrainingRun, json: bool, stopped: bool) -> None:
    """Say how the run ended, where the model is and what to do next."""
    snapshot = run.snapshot()
    kept = best(snapshot["reports"])  # the checkpoint holds the weights of this one
    if json:
        common.write_json({
            "event": "stopped" if stopped else "finished",
            "checkpoint": str(run.folder),
            "step": snapshot["step"],
            "val_loss": round(kept.val_loss, 6) if kept else None,
            "bits_per_byte": round(kept.bits_per_byte, 6) if kept else None,
            "seconds": round(snapshot["seconds"], 3),
        })  # fmt: skip
    elif kept:
        common.write(
            f"{run.folder}: validation loss {kept.val_loss:.4f} at step {kept.step:,} "
            f"({kept.bits_per_byte:.4f} bits a byte); {snapshot['step']:,} steps in "
            f"{duration(snapshot['seconds'])}.\n"
        )
    if stopped:
        common.say(f"Stopped and saved. Go on with: {resume_command(run)}")


def resume_command(run: TrainingRun) -> str:
    """The command that goes on with a run."""
    words = ["python", "-m", "trainers", "resume", run.name]
    for flag, folder, usual in (
        ("checkpoints", run.folder.parent, CHECKPOINTS), ("corpora", run.corpora, CORPORA),
    ):  # fmt: skip
        words += [f"--{flag}={folder}"] if folder != usual else []
    return shlex.join(words)


def duration(seconds: float) -> str:
    """A time span as a person says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


# --- screens ----------------------------------------------------------------------------------


def _choose_screen(run: TrainingRun, json: bool, samples: bool) -> Screen:
    if json:
        return JsonLines()
    return Bar(run, samples) if sys.stderr.isatty() else Lines(samples)


class JsonLines:
    """One report a line on stdout."""

    def update(self, snapshot: dict) -> None:
        """Print the new reports."""
        for report in snapshot["reports"]:
            common.write_json(report.to_dict())

    def close(self) -> None:
        """Nothing to tidy."""


class Lines:
    """A line on stderr for every evaluation: for logs."""

    def __init__(self, samples: bool) -> None:
        self._samples = samples

    def update(self, snapshot: dict) -> None:
        """Print the new evaluations, and samples on stdout."""
        for report in snapshot["reports"]:
            if report.val_loss is not None:
                common.say(
                    f"step {report.step:,}{_of(snapshot['steps'])}: loss {report.train_loss:.3f}, "
                    f"validation loss {report.val_loss:.3f}, "
                    f"{report.tokens_per_second:,.0f} tokens/s"
                )
            if self._samples and report.sample is not None:
                common.write(_sample_text(report))

    def close(self) -> None:
        """Nothing to tidy."""


class Bar:
    """A progress bar on stderr, samples above it."""

    def __init__(self, run: TrainingRun, samples: bool) -> None:
        self._samples = samples
        self._timed = run.config.steps == MOST_STEPS
        self._bar = tqdm(
            total=round(run.config.seconds) if self._timed else run.config.steps, desc=run.name,
            unit="s" if self._timed else "step", dynamic_ncols=True,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}{postfix}",
        )  # fmt: skip

    def update(self, snapshot: dict) -> None:
        """Move the bar; print new samples above it."""
        for report in snapshot["reports"]:
            if self._samples and report.sample is not None:
                self._bar.write(common.printable(_sample_text(report)), file=sys.stdout)
        facts = [snapshot["phase"]] if snapshot["phase"] != "training" else []
        for name, label in (("train_loss", "loss"), ("val_loss", "val")):
            facts += [f"{label} {snapshot[name]:.3f}"] if snapshot[name] is not None else []
        left = snapshot["seconds_left"]
        facts += [f"{duration(left)} left"] if left is not None else []
        self._bar.set_postfix_str(", ".join(facts), refresh=False)
        done = min(round(snapshot["seconds"]), self._bar.total) if self._timed else snapshot["step"]
        self._bar.n = done
        self._bar.refresh()

    def close(self) -> None:
        """Leave the bar as it is, and the cursor below it."""
        self._bar.close()


def _of(steps: int) -> str:
    """How many steps there will be, where that is known."""
    return "" if steps == MOST_STEPS else f" of {steps:,}"


def _sample_text(report: StepMetrics) -> str:
    return f"--- step {report.step:,}\n{report.sample}\n"
