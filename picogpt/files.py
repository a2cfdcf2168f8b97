"""Writing files so that a cut at any point leaves the old content or the new, never half."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def to_json(value: object) -> bytes:
    """UTF-8 JSON as we write it: indented, non-ASCII as it is, a newline at the end."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def write_file(path: Path, data: bytes) -> None:
    """Replace `path` by `data` atomically and durably (temporary file, fsync, rename)."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def write_folder(
    folder: Path,
    files: Iterable[tuple[str, bytes | Callable[[Path], None]]],
    keep: Iterable[str] = (),
) -> None:
    """Make `folder` with these files, atomically; an older one of that name is replaced.

    A file is its bytes, or a function that writes them to the path it is given. Each is written
    before the next is asked for, so that large ones need not be in memory together. Of the older
    folder only what `keep` names goes over into the new one.

    The new folder is complete on disk under `.<name>.tmp` before any rename. `sweep` finishes or
    undoes what a cut between the two renames leaves. The dot keeps both names apart from those
    that people give (`pico-chat.old` may be somebody's backup).
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.tmp")
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    for name, content in files:
        if callable(content):
            content(temporary / name)
        with open(temporary / name, "ab" if callable(content) else "wb") as file:
            if not callable(content):
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
    for name in keep:
        if (folder / name).is_dir():
            shutil.copytree(folder / name, temporary / name)
        elif (folder / name).is_file():
            shutil.copy2(folder / name, temporary / name)
    sync_folder(temporary)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(folder, old)
    os.replace(temporary, folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def sweep(parent: Path) -> list[str]:
    """Remove what an interrupted write left in `parent`; bring an old folder back if need be.

    Returns:
        The names that were removed or restored.
    """
    touched = []
    for path in sorted(parent.iterdir()) if parent.is_dir() else []:
        ours = path.is_file() or path.name.startswith(".")
        if path.suffix == ".old" and path.is_dir() and ours:
            home = path.with_name(path.stem[1:])
            if home.exists():
                shutil.rmtree(path)
            else:
                os.replace(path, home)
        elif path.suffix == ".tmp" and ours:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        else:
            continue
        touched.append(path.name)
    return touched


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable, where the operating system lets us open a folder."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
