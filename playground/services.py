"""What outlives one browser tab: loaded models, training runs, streams and their attention."""

from __future__ import annotations

import logging
import math
import shutil
import tempfile
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from pathlib import Path

from picogpt.checkpoint import load_checkpoint
from picogpt.errors import CheckpointError, CorpusError, PicoGPTError
from picogpt.manifest import read_manifest
from picogpt.pico import Pico, list_checkpoints
from playground.live import LiveTraces
from trainers.registry import RunRegistry
from trainers.sources import corpus_names

log = logging.getLogger(__name__)

LOADED = 3
"""Most models held in memory at a time."""
SESSIONS = 1000
"""Most browser sessions whose streams can be stopped at a time."""
ZIPS = 8
"""Most zips for downloading that are kept at a time."""
DEFAULT_MODEL = "pico-chat"


@dataclass(frozen=True)
class ModelInfo:
    """What the list of models shows, read without loading the weights."""

    name: str
    parameters: int
    """Trainable numbers; 0 when not known."""
    bits_per_byte: float | None
    corpus: str
    size: int
    """Bytes of all files."""
    chat: bool
    """Was trained on conversations."""
    steps: int
    """Steps trained; 0 for a model that has not learned yet."""
    problem: str = ""
    """Why it cannot be used, in a sentence; empty when nothing is known to be wrong."""

    @property
    def label(self) -> str:
        """For the model picker: name, size, how well it predicts."""
        parts = [self.name, f"{self.parameters / 1e6:.3g} M"] if self.parameters else [self.name]
        if self.bits_per_byte is not None:
            parts.append(f"{self.bits_per_byte:.2f} bits/byte")
        return ", ".join(parts)


class ModelStore:
    """The models under one folder, loaded when first used. Safe to share between threads.

    A model whose files have changed (a run that trains saves better weights) is loaded anew at
    its next use; when the new files are damaged, the loaded model stays.

    Args:
        checkpoints: the folder.
        device: where models run, `auto`, `cpu`, `cuda` or `mps`.
    """

    def __init__(self, checkpoints: str | Path, device: str = "auto") -> None:
        self.checkpoints, self.device = Path(checkpoints), device
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, tuple[tuple[int, ...], Pico]] = OrderedDict()
        self._zips: deque[tempfile.TemporaryDirectory] = deque(maxlen=ZIPS)

    def names(self) -> list[str]:
        """Names of all models, the default one first."""
        names = list_checkpoints(self.checkpoints)
        return sorted(names, key=lambda name: (name != DEFAULT_MODEL, name))

    def get(self, name: str) -> Pico:
        """The model of that name in its newest version.

        Raises:
            CheckpointError: there is none, or it is damaged and was not loaded before.
        """
        folder = self._folder(name)
        with self._lock:
            stamp = _stamp(folder)
            loaded = self._loaded.get(name)
            if loaded is None or loaded[0] != stamp:
                loaded = self._load(name, folder, stamp, loaded)
            self._loaded[name] = loaded
            self._loaded.move_to_end(name)
            while len(self._loaded) > LOADED:
                self._loaded.popitem(last=False)
            return loaded[1]

    def _load(
        self,
        name: str,
        folder: Path,
        stamp: tuple[int, ...],
        before: tuple[tuple[int, ...], Pico] | None,
    ) -> tuple[tuple[int, ...], Pico]:
        try:
            return stamp, Pico(load_checkpoint(folder, self.device))
        except CheckpointError as error:
            if before is None:
                raise
            log.warning("%s stays as it was loaded: %s", name, error)
            return stamp, before[1]

    def info(self, name: str) -> ModelInfo:
        """What is known of a model from its small files; never raises for a broken one."""
        folder = self.checkpoints / name
        size = _size(folder)
        try:
            meta = read_manifest(folder / "pico.json") if (folder / "pico.json").exists() else {}
        except PicoGPTError as error:
            return ModelInfo(name, 0, None, "", size, False, 0, str(error))
        corpus = meta.get("corpus")
        return ModelInfo(
            name, int(_number(meta.get("parameters")) or 0), _number(meta.get("bits_per_byte")),
            str(corpus.get("name", "not known")) if isinstance(corpus, dict) else "not known",
            size, bool(meta.get("chat")), int(_number(meta.get("steps")) or 0),
            "" if meta else "unverified: not made here",
        )  # fmt: skip

    def infos(self) -> list[ModelInfo]:
        """All models."""
        return [self.info(name) for name in self.names()]

    def delete(self, name: str) -> None:
        """Remove a model's folder for good.

        Raises:
            CheckpointError: there is no such model.
        """
        folder = self._folder(name)
        with self._lock:
            self._loaded.pop(name, None)
            shutil.rmtree(folder)

    def zip(self, name: str) -> Path:
        """A zip of a model's folder (without the states for resuming), for downloading.

        Raises:
            CheckpointError: there is no such model.
        """
        folder = self._folder(name)
        kept = tempfile.TemporaryDirectory(prefix="pico-zip-")
        self._zips.append(kept)  # the oldest goes, and is removed from the disk
        scratch = Path(kept.name)
        shutil.copytree(
            folder, scratch / name, ignore=shutil.ignore_patterns("training", "*.tmp", "*.next")
        )
        archive = shutil.make_archive(str(scratch / name), "zip", scratch, name)
        shutil.rmtree(scratch / name)
        return Path(archive)

    def _folder(self, name: str) -> Path:
        """The folder of a listed model; never a path from outside."""
        there = self.names()
        if name in there:
            return self.checkpoints / name
        if not there:
            raise CheckpointError("There is no model yet. Make one in the Train tab.")
        if not name:
            raise CheckpointError(f"No model is chosen. Choose one of: {', '.join(there)}.")
        raise CheckpointError(
            f"There is no model {str(name)[:80]!r}. There are: {', '.join(there)}."
        )


def _stamp(folder: Path) -> tuple[int, ...]:
    """Changes whenever the manifest or the weights are replaced."""
    files = [folder / "pico.json", folder / "model.safetensors"]
    return tuple(f.stat().st_mtime_ns if f.exists() else 0 for f in files)


def _size(folder: Path) -> int:
    """Bytes of a folder's files; one that a run replaces at this moment counts as 0."""
    sizes = []
    for path in folder.glob("*"):
        try:
            sizes.append(path.stat().st_size if path.is_file() else 0)
        except OSError:
            continue
    return sum(sizes)


def _number(value: object) -> float | None:
    """A finite number out of a manifest, whoever wrote it; None for anything else."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return value if good else None


class Sessions:
    """One stop Event for the running stream of each browser session."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: OrderedDict[str, threading.Event] = OrderedDict()

    def begin(self, session: str, event: threading.Event) -> None:
        """Take `event` as the stop of a session's new stream; its earlier stream is stopped."""
        with self._lock:
            earlier = self._events.pop(session, None)
            self._events[session] = event
            while len(self._events) > SESSIONS:
                self._events.popitem(last=False)
        if earlier is not None:
            earlier.set()

    def holds(self, session: str, event: threading.Event) -> bool:
        """Whether `event` is still that of the session's newest stream, and not dropped."""
        with self._lock:
            return self._events.get(session) is event

    def stop(self, session: str) -> None:
        """End the session's stream within one token."""
        with self._lock:
            event = self._events.get(session)
        if event is not None:
            event.set()

    def drop(self, session: str) -> None:
        """End the session's stream, and let nothing more of it reach the page."""
        with self._lock:
            event = self._events.pop(session, None)
        if event is not None:
            event.set()


@dataclass
class Services:
    """Everything the tabs share on the server."""

    models: ModelStore
    runs: RunRegistry
    sessions: Sessions = field(default_factory=Sessions)
    traces: LiveTraces = field(default_factory=LiveTraces)
    model: str = DEFAULT_MODEL
    """The model that is chosen when the page opens."""

    def first(self) -> str:
        """The model to begin with: `model`, or another where that was deleted; "" for none."""
        names = self.models.names()
        return self.model if self.model in names else next(iter(names), "")

    @property
    def corpora(self) -> Path:
        """The folder of all texts."""
        return self.runs.corpora

    def corpus(self, name: object) -> str:
        """A text's name, after checking that it is one: visitors may not name other files.

        Raises:
            CorpusError: it is not in the list.
        """
        there = corpus_names(self.corpora)
        if not there:
            raise CorpusError("There is no text to train on yet. Upload one.")
        if name not in there:
            raise CorpusError(
                f"There is no text {str(name)[:80]!r} here. Choose one of: {', '.join(there)}."
            )
        return str(name)


def make_services(
    checkpoints: str | Path, corpora: str | Path, device: str = "auto", model: str = ""
) -> Services:
    """The services of one server.

    Args:
        checkpoints: the folder of all models.
        corpora: the folder of all texts.
        device: where models run.
        model: the one to open with; empty takes pico-chat, or the first there is.

    Raises:
        CheckpointError: `model` does not exist or is damaged.
    """
    models = ModelStore(checkpoints, device)
    if model:
        models.get(model)  # a wrong name is said at once, not in the browser
    first = model or next(iter(models.names()), "")
    return Services(models, RunRegistry(checkpoints, corpora), model=first)
