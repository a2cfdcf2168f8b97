"""A training run on a thread of its own: start, pause, resume, stop, and a truthful state."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from picogpt.checkpoint import save_checkpoint
from picogpt.errors import PicoGPTError, RunError
from picogpt.files import sweep, write_file
from picogpt.tokenizers import load_tokenizer
from trainers.card import manifest, model_card
from trainers.config import TrainConfig
from trainers.corpus import Corpus
from trainers.loop import TrainState, new_state, score, train
from trainers.metrics import StepMetrics, baselines, best, read_metrics
from trainers.sources import load_corpus
from trainers.state import load_state, newest_state, save_state

log = logging.getLogger(__name__)

SAVE_SECONDS = 60.0
"""Seconds of training between saves of the training state."""
ACTIVE = ("running", "paused", "stopping")
"""States in which the thread lives."""


class TrainingRun:
    """One run and everything known about it. All methods may be called from any thread.

    The state is one of `running`, `paused` (the thread waits between two steps), `stopping` (it
    will score and save, then end), `finished` (the checkpoint is saved), `failed` (`error` says
    why; the last good weights are kept).

    Args:
        config: the recipe; `config.out` is the name of the checkpoint folder.
        checkpoints: the folder of all checkpoints.
        corpora: the folder of all corpora.
        resume: go on from the newest saved state of that folder.
        notes: what a person should know of how it runs, a sentence each.
    """

    def __init__(
        self,
        config: TrainConfig,
        checkpoints: Path,
        corpora: Path,
        resume: bool = False,
        notes: Sequence[str] = (),
    ) -> None:
        self.config, self.notes = config, tuple(notes)
        for note in self.notes:
            log.info("%s: %s", config.out, note)
        self.name = config.out
        self.folder = checkpoints / config.out
        self.corpora, self._resume = corpora, resume
        self._lock = threading.Lock()
        self._stop, self._go, self._parked = threading.Event(), threading.Event(), threading.Event()
        self._go.set()
        self._thread = threading.Thread(target=self._work, name=f"train {self.name}", daemon=True)
        self._state, self._phase, self._error = "running", "reading the text", ""
        self._reports: list[StepMetrics] = []
        self._baselines: dict[str, float] = {}
        self._saved_step = -1
        self._metrics_file = None

    # --- what others may do -------------------------------------------------------------------

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def pause(self) -> None:
        """Ask the thread to wait after the step it is in.

        Raises:
            RunError: the run is not running.
        """
        with self._lock:
            self._must_be("running")
            self._go.clear()

    def resume(self) -> None:
        """Go on after `pause`.

        Raises:
            RunError: the run is neither paused nor about to pause.
        """
        with self._lock:
            if self._go.is_set():
                self._must_be("paused")
            self._state = "running"
            self._parked.clear()
            self._go.set()

    def stop(self) -> None:
        """Ask the thread to score, save and end; a run that has ended stays as it is."""
        with self._lock:
            if self._state in ("running", "paused"):
                self._state = "stopping"
                self._parked.clear()
                self._stop.set()
                self._go.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the thread to end; False when `timeout` seconds went by first."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def wait_paused(self, timeout: float | None = None) -> bool:
        """Wait until the thread waits between two steps; False on timeout or when it has ended."""
        return self._parked.wait(timeout) and self.state == "paused"

    @property
    def state(self) -> str:
        """One of running, paused, stopping, finished, failed."""
        with self._lock:
            return self._state

    @property
    def pausing(self) -> bool:
        """A pause was asked for, and the thread waits or soon will."""
        return not self._go.is_set()

    def snapshot(self, reports: int = 0) -> dict:
        """Everything about the run, with the reports from number `reports` on.

        Returns:
            name, preset, corpus, state, phase, error, step, steps, seconds, tokens_per_second,
            seconds_left, val_loss and bits_per_byte (the newest), saved_step (whose weights the
            checkpoint holds; 0 are untrained ones, -1 none yet), baselines, and `reports`, a list
            of `StepMetrics`.
        """
        with self._lock:
            last = self._reports[-1] if self._reports else None
            scored = next((r for r in reversed(self._reports) if r.val_loss is not None), None)
            return {
                "name": self.name,
                "preset": self.config.preset,
                "corpus": self.config.corpus,
                "state": self._state,
                "phase": self._phase,
                "error": self._error,
                "step": last.step if last else 0,
                "steps": self.config.steps,
                "seconds": last.seconds if last else 0.0,
                "train_loss": last.train_loss if last else None,
                "tokens_per_second": last.tokens_per_second if last else 0.0,
                "seconds_left": self._seconds_left(last),
                "val_loss": scored.val_loss if scored else None,
                "bits_per_byte": scored.bits_per_byte if scored else None,
                "saved_step": self._saved_step,
                "baselines": dict(self._baselines),
                "reports": self._reports[reports:],
            }

    # --- what the thread does -----------------------------------------------------------------

    def _work(self) -> None:
        try:
            corpus, state = self._prepare()
            try:
                self._drive(corpus, state)
            finally:
                self._metrics_file.close()
            save_state(self.folder, state, self.config, corpus.sha256)
            self._end("finished")
        except PicoGPTError as error:
            self._end("failed", str(error))
        except Exception as error:  # whatever it is, nobody may see "running" for ever after
            log.exception("training run %s failed", self.name)
            self._end("failed", f"{type(error).__name__}: {error}")

    def _prepare(self) -> tuple[Corpus, TrainState]:
        config = self.config
        tokenizer = load_tokenizer(self.folder) if self._resume else None
        corpus = load_corpus(config, self.corpora, tokenizer, self._reading)
        state = new_state(config, corpus)
        losses = baselines(corpus)
        reports = []
        if self._resume:
            reports = self._restore(state, corpus)
        else:
            # The untrained model is the first checkpoint: later saves only replace its weights.
            self._save_weights(corpus, state, None)
        scored = best(reports)
        with self._lock:
            self._phase, self._baselines, self._reports = "training", losses, reports
            self._saved_step = scored.step if scored else 0
        lines = "".join(report.to_json() + "\n" for report in reports)
        path = self.folder / "metrics.jsonl"
        write_file(path, lines.encode("utf-8"))
        self._metrics_file = open(path, "a", encoding="utf-8")  # noqa: SIM115  closed by _work
        return corpus, state

    def _reading(self, phase: str, done: int, total: int) -> None:
        """Say how far the text is; give up when the run was stopped."""
        with self._lock:
            self._phase = f"{phase}, {done / max(1, total):.0%}"
        if self._stop.is_set():
            raise RunError(f"{self.name} was stopped before it began to train.")

    def _restore(self, state: TrainState, corpus: Corpus) -> list[StepMetrics]:
        """Put the newest saved state into `state`; returns the reports up to there."""
        for folder in (self.folder, self.folder / "training"):
            sweep(folder)
        saved, files = newest_state(self.folder)
        if saved["corpus_sha256"] != corpus.sha256:
            raise RunError(
                f"{self.name} was trained on another version of {self.config.corpus}. "
                "Bring that text back, or start a new run."
            )
        load_state(state, files, saved)
        return [r for r in read_metrics(self.folder / "metrics.jsonl") if r.step <= state.step]

    def _drive(self, corpus: Corpus, state: TrainState) -> None:
        saved_at = state.seconds
        for report in train(state, corpus, self.config):
            self._record(report, corpus, state)
            if state.seconds - saved_at >= SAVE_SECONDS:
                save_state(self.folder, state, self.config, corpus.sha256)
                saved_at = state.seconds
            if not self._go.is_set():
                self._park(corpus, state)
            if self._stop.is_set():
                if report.val_loss is None:
                    self._record(score(state, corpus, self.config, report), corpus, state)
                return

    def _record(self, report: StepMetrics, corpus: Corpus, state: TrainState) -> None:
        """Keep a report; when it is the best so far, its weights become the checkpoint."""
        with self._lock:
            self._reports.append(report)
        self._metrics_file.write(report.to_json() + "\n")
        self._metrics_file.flush()
        if report.val_loss is not None and report.val_loss < state.best_val_loss:
            state.best_val_loss = report.val_loss
            self._save_weights(corpus, state, report)
            with self._lock:
                self._saved_step = report.step

    def _save_weights(self, corpus: Corpus, state: TrainState, report: StepMetrics | None) -> None:
        """Make the weights as they are now the checkpoint."""
        save_checkpoint(
            self.folder, state.best_model, corpus.tokenizer, manifest(self.config, corpus, report),
            model_card(self.config, corpus, report),
        )  # fmt: skip

    def _park(self, corpus: Corpus, state: TrainState) -> None:
        save_state(self.folder, state, self.config, corpus.sha256)
        with self._lock:
            if self._go.is_set():
                return
            self._state = "paused"
            self._parked.set()
        self._go.wait()

    def _end(self, state: str, error: str = "") -> None:
        with self._lock:
            self._state, self._phase, self._error = state, "", error
            self._go.set()
            self._parked.set()

    # --- small helpers ------------------------------------------------------------------------

    def _must_be(self, wanted: str) -> None:
        if self._state != wanted:
            raise RunError(f"{self.name} is {self._state}, not {wanted}; nothing was changed.")

    def _seconds_left(self, last: StepMetrics | None) -> float | None:
        """Seconds until the run's end at the latest speed; None when nothing is known yet."""
        if last is None or self._state not in ACTIVE or last.tokens_per_second <= 0:
            return None
        tokens = (self.config.steps - last.step) * self.config.tokens_per_step
        left = tokens / last.tokens_per_second
        if self.config.seconds:
            left = min(left, max(0.0, self.config.seconds - last.seconds))
        return left


def recorded(folder: Path) -> list[StepMetrics]:
    """The reports of a run that made a checkpoint, from its `metrics.jsonl`."""
    return read_metrics(folder / "metrics.jsonl")


def watch(run: TrainingRun, every: float = 0.2) -> Iterator[dict]:
    """Snapshots of a run every so many seconds, each with what is new; the last after its end."""
    seen = 0
    while True:
        ended = run.wait(every)
        snapshot = run.snapshot(seen)
        seen += len(snapshot["reports"])
        yield snapshot
        if ended:
            return
