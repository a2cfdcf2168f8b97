"""From the bytes of a file to characters, checked, a piece at a time.

Formats: a text is in UTF-8 (with or without BOM) or in UTF-16 (with BOM); line ends stay as they
are. Where the pieces end decides nothing.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from picogpt.errors import CorpusError

PIECE_BYTES = 1 << 20
"""Bytes of a file that are read at a time."""
MAX_FILE_BYTES = 2_000_000_000
"""Largest text file that can be trained on, in bytes."""

_BOMS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_HEAD_BYTES = 4096  # looked at to tell what kind of file it is
_CONTROL = [chr(code) for code in (*range(0x09), *range(0x0E, 0x1B), *range(0x1C, 0x20))]


class TextFile:
    """A text file that is gone through a piece at a time, as often as need be.

    `for piece in file` reads, decodes and checks; `len(file)` is the number of pieces.

    Args:
        path: where it is.
        max_bytes: how large it may be.

    Raises:
        CorpusError: there is no such file, or it is too large; while it is read: it is not a
            text we can read (see `decode_pieces`), or it has changed since this object was made.
    """

    def __init__(self, path: str | Path, max_bytes: int = MAX_FILE_BYTES) -> None:
        self.path = Path(path)
        try:
            self._version = _version(os.stat(self.path))
        except OSError as error:
            raise self._unreadable(error) from error
        check_size(self._version[0], self.path.name, max_bytes)

    def __len__(self) -> int:
        return -(-self._version[0] // PIECE_BYTES)

    def __iter__(self) -> Iterator[str]:
        try:
            with open(self.path, "rb") as file:
                if _version(os.fstat(file.fileno())) != self._version:
                    raise CorpusError(f"{self.path.name} has changed while it was read. Try again.")
                yield from decode_pieces(file, self.path.name)
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> CorpusError:
        return CorpusError(f"{self.path} cannot be read: {error.strerror}.")


def _version(facts: os.stat_result) -> tuple[int, int]:
    """Size in bytes and time of the last change: another version of a file has others."""
    return facts.st_size, facts.st_mtime_ns


def check_size(size: int, name: str, max_bytes: int) -> None:
    """Refuse a text of more than `max_bytes` bytes.

    Raises:
        CorpusError: it is larger.
    """
    if size > max_bytes:
        raise CorpusError(
            f"{name} is too large: at most {max_bytes:,} bytes can be read. Use a part of it."
        )


def decode_pieces(file: BinaryIO, name: str) -> Iterator[str]:
    """The text in a file, with CRLF kept and a BOM taken off, a piece at a time.

    Args:
        file: the file, at its beginning.
        name: how to call it in an error.

    Raises:
        CorpusError: empty, binary, or neither UTF-8 nor UTF-16 with BOM.
    """
    head = file.read(_HEAD_BYTES)
    encoding, at = next(
        ((encoding, len(bom)) for bom, encoding in _BOMS.items() if head.startswith(bom)),
        ("utf-8", 0),
    )
    file.seek(at)
    decoder = codecs.getincrementaldecoder(encoding)()
    visible = 0
    data = head
    while data:
        data = file.read(PIECE_BYTES)
        held = len(decoder.getstate()[0])  # bytes of a character that goes on in `data`
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            kind = "a binary file" if b"\x00" in head else "not UTF-8"
            place = f"byte {at - held + error.start:,}"
            raise CorpusError(
                f"{name} is {kind} ({place} cannot be read as text). "
                "Save it as plain text in UTF-8."
            ) from error
        if any(char in text for char in _CONTROL):
            raise CorpusError(f"{name} is a binary file, not text. Save it as plain text in UTF-8.")
        at += len(data)
        visible += len(text.strip())
        if text:
            yield text
    if visible < 2:
        content = "a single character" if visible else "no text"
        raise CorpusError(f"{name} holds {content}. Use a text of some thousands of characters.")
