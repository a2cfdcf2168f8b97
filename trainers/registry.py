"""Which run trains now: one at a time, and a plain word to the second who asks."""

from __future__ import annotations

import dataclasses
import re
import threading
from pathlib import Path

from picogpt.errors import RunError
from picogpt.files import sweep
from trainers.config import TrainConfig
from trainers.corpus import CORPORA
from trainers.fit import fit
from trainers.run import ACTIVE, TrainingRun
from trainers.state import newest_state

CHECKPOINTS = Path("checkpoints")


class RunRegistry:
    """All runs of this process. Safe to share between threads.

    Args:
        checkpoints: where runs write; left-overs of an interrupted write are removed.
        corpora: where texts are found.
    """

    def __init__(
        self, checkpoints: str | Path = CHECKPOINTS, corpora: str | Path = CORPORA
    ) -> None:
        self.checkpoints, self.corpora = Path(checkpoints), Path(corpora)
        self._lock = threading.Lock()
        self._runs: dict[str, TrainingRun] = {}
        sweep(self.checkpoints)

    def start(self, config: TrainConfig) -> TrainingRun:
        """Start a run.

        Args:
            config: with an empty `out`, a free name is made from preset and corpus.

        Raises:
            RunError: another run is active, the folder `out` exists, or the run needs more
                memory than the machine has.
        """
        with self._lock:
            self._must_be_free()
            name = config.out or self._free_name(f"{config.preset}-{Path(config.corpus).stem}")
            _check_name(name)
            if (self.checkpoints / name).exists():
                raise RunError(
                    f"{self.checkpoints / name} exists already. Choose another name, resume it, "
                    "or delete it first."
                )
            config, notes = fit(config)
            return self._launch(dataclasses.replace(config, out=name), notes)

    def resume(self, name: str, **changes: object) -> TrainingRun:
        """Go on with a run from its newest saved state.

        Args:
            name: the checkpoint folder.
            changes: fields of the recipe to change, such as `steps` for a longer run.

        Raises:
            RunError: another run is active, or there is none of that name, or it is already done.
            ConfigError: a changed field is unknown or has a bad value.
            CheckpointError: the folder holds no state to go on from.
        """
        with self._lock:
            self._must_be_free()
            _check_name(name)
            if not (self.checkpoints / name).is_dir():
                raise RunError(f"There is no run {name!r} in {self.checkpoints}. Check its name.")
            saved, _ = newest_state(self.checkpoints / name)
            config = TrainConfig.from_dict(saved["config"] | {"out": name} | changes)
            if saved["step"] >= config.steps:
                raise RunError(
                    f"{name} has done all its {config.steps:,} steps. Give more steps to go on."
                )
            if config.seconds and saved["seconds"] >= config.seconds:
                raise RunError(
                    f"{name} has used all its {config.seconds:g} seconds. Give more to go on."
                )
            return self._launch(config, [], resume=True)

    def _launch(self, config: TrainConfig, notes: list[str], resume: bool = False) -> TrainingRun:
        run = TrainingRun(config, self.checkpoints, self.corpora, resume, notes)
        self._runs.pop(config.out, None)  # a name used again moves to the end
        self._runs[config.out] = run
        run.start()
        return run

    def get(self, name: str) -> TrainingRun | None:
        """The run of that name in this process, active or ended."""
        with self._lock:
            return self._runs.get(name)

    def active(self) -> TrainingRun | None:
        """The run that trains now, if one does."""
        with self._lock:
            return self._active()

    def latest(self) -> TrainingRun | None:
        """The run started last in this process."""
        with self._lock:
            return next(reversed(self._runs.values()), None)

    def _active(self) -> TrainingRun | None:
        return next((run for run in self._runs.values() if run.state in ACTIVE), None)

    def _must_be_free(self) -> None:
        busy = self._active()
        if busy is not None:
            snapshot = busy.snapshot()
            raise RunError(
                f"{busy.name} is training here (step {snapshot['step']:,} of "
                f"{snapshot['steps']:,}). One run trains at a time: wait for it or stop it."
            )

    def _free_name(self, base: str) -> str:
        base = re.sub(r"[^A-Za-z0-9_-]+", "-", base).strip("-_")[:60] or "run"
        number = 1
        while (self.checkpoints / (base if number == 1 else f"{base}-{number}")).exists():
            number += 1
        return base if number == 1 else f"{base}-{number}"


def _check_name(name: str) -> None:
    """Raises RunError unless `name` can be that of a folder of ours, here and on other systems."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,79}", name):
        raise RunError(
            f"{name!r} is not a name for a checkpoint. Use up to 80 letters, digits, dots, dashes "
            "and underscores, starting with a letter or digit."
        )
