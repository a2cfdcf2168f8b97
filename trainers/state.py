"""Saving a run so that it goes on as if it had never stopped.

A run's folder holds `training/step-N/`: `model.safetensors` (float32), `average.safetensors` (the
averaged weights, where there are any), `optimizer.safetensors`,
`state.json` (step, seconds, best loss, the recipe) and `manifest.json` with their SHA-256. Each
is written whole under another name and renamed; the newest two are kept. Batches and dropout
depend on the step alone, so no random state needs saving.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save_file
from torch import Tensor

from picogpt.errors import CheckpointError
from picogpt.files import sha256, to_json, write_folder
from picogpt.model import GPT
from trainers.config import TrainConfig
from trainers.loop import TrainState

KEPT = 2
"""How many states of a run stay."""
FILES = ("model.safetensors", "average.safetensors", "optimizer.safetensors", "state.json")
"""What the manifest of a state vouches for."""


def save_state(folder: Path, state: TrainState, config: TrainConfig, corpus_sha256: str) -> Path:
    """Write `folder/training/step-N/` and remove all but the newest two.

    Args:
        folder: the checkpoint folder of the run.
        state: as it stands between two reports.
        config: the recipe.
        corpus_sha256: of the text, so that a run is not resumed on another one.

    Returns:
        The new folder.

    Raises:
        CheckpointError: a weight is not finite; the states saved before stay.
    """
    if not all(bool(torch.isfinite(p).all()) for p in state.model.parameters()):
        raise CheckpointError(
            "The weights hold values that are not finite numbers, so the training state was not "
            "saved. Start again with smaller learning rates."
        )
    target = folder / "training" / f"step-{state.step}"
    write_folder(target, _files(state, config, corpus_sha256))
    # A state of a later step is one that was damaged, or this run would have begun there.
    good = [p for p in _steps(folder) if int(p.name[5:]) <= state.step][:KEPT]
    for old in set(_steps(folder)) - set(good):
        shutil.rmtree(old)
    return target


def _files(
    state: TrainState, config: TrainConfig, corpus_sha256: str
) -> Iterator[tuple[str, bytes | Callable[[Path], None]]]:
    """The files of a saved state as `write_folder` takes them, the manifest of all last."""
    hashes: dict[str, str] = {}

    def writer(tensors: dict[str, Tensor]) -> Callable[[Path], None]:
        def write(path: Path) -> None:
            save_file(tensors, path)
            hashes[path.name] = _file_sha256(path)

        return write

    yield "model.safetensors", writer(_weights(state.model))
    yield (
        "average.safetensors",
        writer({} if state.average is None else _weights(state.average)),
    )
    yield "optimizer.safetensors", writer(_optimizer_tensors(state))
    facts = to_json(_facts(state, config, corpus_sha256))
    hashes["state.json"] = sha256(facts)
    yield "state.json", facts
    yield "manifest.json", to_json(hashes)


def _file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex, without having them in memory together."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _facts(state: TrainState, config: TrainConfig, corpus_sha256: str) -> dict:
    """What `state.json` holds."""
    return {
        "step": state.step,
        "seconds": state.seconds,
        "best_val_loss": state.best_val_loss if state.best_val_loss < 1e30 else None,
        "glance_off": state.glance_off,
        "corpus_sha256": corpus_sha256,
        "torch": torch.__version__,
        "config": config.to_dict(),
    }


def newest_state(folder: Path) -> tuple[dict, dict[str, bytes]]:
    """The newest saved state that is whole: its `state.json`, and its files.

    Raises:
        CheckpointError: there is none, or none is undamaged.
    """
    for step in _steps(folder):
        try:
            manifest = json.loads((step / "manifest.json").read_text(encoding="utf-8"))
            files = {name: (step / name).read_bytes() for name in FILES}
            if manifest == {name: sha256(data) for name, data in files.items()}:
                return json.loads(files["state.json"]), files
        except (OSError, ValueError):
            continue
    raise CheckpointError(
        f"{folder.name} holds no saved training state that is whole, so it cannot go on. "
        "Start a new run."
    )


def load_state(state: TrainState, files: dict[str, bytes], saved: dict) -> None:
    """Put a saved state into a fresh one of the same recipe.

    Raises:
        CheckpointError: the files hold other shapes than the recipe makes.
    """
    try:
        weights = tensors_from_bytes(files["model.safetensors"])
        average = tensors_from_bytes(files["average.safetensors"])
        _load(state.model, weights)
        if state.average is not None:
            _load(state.average, average or weights)
        tensors = tensors_from_bytes(files["optimizer.safetensors"])
    except (SafetensorError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"The saved training state does not fit: {error}.") from error
    for number, optimizer in enumerate(state.optimizers):
        own = f"{number}."
        optimizer.load({k[len(own) :]: t for k, t in tensors.items() if k.startswith(own)})
    state.step, state.seconds = saved["step"], saved["seconds"]
    state.glance_off = saved.get("glance_off")
    best = saved["best_val_loss"]
    state.best_val_loss = float("inf") if best is None else best


def _weights(model: GPT) -> dict[str, Tensor]:
    """Every tensor of a model by its name; the tied head is stored once."""
    tensors = model.state_dict().items()
    return {k: v.detach().cpu().contiguous() for k, v in tensors if k != "lm_head.weight"}


def _load(model: GPT, weights: dict[str, Tensor]) -> None:
    model.load_state_dict(weights | {"lm_head.weight": weights["transformer.wte.weight"]})


def _optimizer_tensors(state: TrainState) -> dict[str, Tensor]:
    """number of the optimizer.name -> tensor, for every tensor an optimizer keeps."""
    return {
        f"{number}.{name}": tensor.detach().cpu().contiguous()
        for number, optimizer in enumerate(state.optimizers)
        for name, tensor in optimizer.tensors().items()
    }


def _steps(folder: Path) -> list[Path]:
    """The saved states of a run, newest first."""
    root = folder / "training"
    found = [p for p in root.iterdir() if p.name[5:].isdigit()] if root.is_dir() else []
    return sorted(found, key=lambda p: int(p.name[5:]), reverse=True)
