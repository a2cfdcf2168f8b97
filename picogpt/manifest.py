"""`pico.json`: what a checkpoint folder says of itself, and the hashes that vouch for its files."""

from __future__ import annotations

import json
import os
from pathlib import Path

from picogpt.errors import CheckpointError
from picogpt.files import sha256, sync_folder, to_json
from picogpt.model import GPT
from picogpt.weights import WEIGHTS_FILE

FORMAT_VERSION = 1
#: Files the manifest does not vouch for: people edit the card, a run appends to its metrics.
UNHASHED = ("README.md", "metrics.jsonl")
#: Files it must vouch for.
VOUCHED = {"config.json", WEIGHTS_FILE, "tokenizer.json"}


def manifest_bytes(model: GPT, meta: dict, hashes: dict[str, str]) -> bytes:
    """The bytes of a `pico.json`: format, parameters, `meta`, and all hashes."""
    ours = {"format_version": FORMAT_VERSION, "parameters": model.num_parameters()}
    body = ours | meta | ours | {"files": dict(sorted(hashes.items())), "sha256": ""}
    return to_json(body | {"sha256": sha256(to_json(body))})


def read_manifest(path: Path) -> dict:
    """Parse a `pico.json` and check its own hash.

    Raises:
        CheckpointError: it cannot be read, has another version, or was changed.
    """
    meta = read_json(path)
    files = meta.get("files")
    if meta.get("format_version") != FORMAT_VERSION or not isinstance(files, dict):
        raise CheckpointError(
            f"{path.parent.name}/pico.json has format version {meta.get('format_version')!r}; "
            f"this program reads {FORMAT_VERSION}."
        )
    if sha256(to_json(meta | {"sha256": ""})) != meta.get("sha256"):
        raise CheckpointError(
            f"{path.parent.name}/pico.json was changed after it was written. "
            "Restore it, or delete it to load the folder as unverified."
        )
    if not files.keys() >= VOUCHED:
        raise CheckpointError(
            f"{path.parent.name}/pico.json does not vouch for {min(VOUCHED - files.keys())}. "
            "Get the folder again, or delete pico.json to load it as unverified."
        )
    return meta


def settle(folder: Path) -> None:
    """Finish a save that was cut after its weights, before a new one overwrites `.next`."""
    waiting, weights = folder / "pico.json.next", folder / WEIGHTS_FILE
    if not (waiting.is_file() and weights.is_file()):
        return
    try:
        wanted = read_manifest(waiting)["files"][WEIGHTS_FILE]
        matches = wanted == sha256(_read_bytes(weights))
    except CheckpointError:  # half a manifest belongs to nothing
        return
    if matches:
        os.replace(waiting, folder / "pico.json")
        sync_folder(folder)


def read_verified(folder: Path) -> tuple[dict, bytes]:
    """The manifest that matches the files ({} when foreign) and the bytes of the weights."""
    try:
        return _read_matching(folder)
    except CheckpointError:  # a run may have saved between two of these reads: look once more
        return _read_matching(folder)


def _read_matching(folder: Path) -> tuple[dict, bytes]:
    weights = _read_bytes(folder / WEIGHTS_FILE)
    names = [n for n in ("pico.json", "pico.json.next") if (folder / n).is_file()]
    problems = []
    for name in names:
        try:
            meta = read_manifest(folder / name)
            for file, expected in meta["files"].items():
                data = weights if file == WEIGHTS_FILE else _read_bytes(folder / Path(file).name)
                if sha256(data) != expected:
                    raise CheckpointError(
                        f"{folder.name}/{file} is damaged: its SHA-256 is not the one in "
                        "pico.json. Get the folder again."
                    )
        except CheckpointError as error:
            problems.append(error)
        else:
            return meta, weights
    if "pico.json" in names:
        raise problems[0]
    return {}, weights


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise CheckpointError(f"{path.parent.name}/{path.name}: {reason}.") from error


def read_json(path: Path) -> dict:
    """The JSON object in a file of a checkpoint; CheckpointError when there is none."""
    try:
        value = json.loads(_read_bytes(path).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.parent.name}/{path.name} is not valid JSON.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path.parent.name}/{path.name} is not a JSON object.")
    return value
