"""Texts of any length: read, checked, measured and encoded a piece at a time.

Formats: a text is a file in UTF-8 (with or without BOM) or UTF-16 (with BOM); line ends stay as
they are. A text in memory is the same thing in a single piece: `(text,)`. No result depends on
where the pieces end.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from picogpt.errors import CorpusError
from picogpt.tokenizers import Tokenizer

PIECE_BYTES = 1 << 20
"""Bytes of a file that are read at a time."""
MAX_FILE_BYTES = 2_000_000_000
"""Largest text file that can be trained on, in bytes."""
PROGRESS_SECONDS = 0.1
"""Least time between two calls of a progress function; see `seldom`."""

_BOMS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_HEAD_BYTES = 4096  # looked at to tell what kind of file it is
_CONTROL = [chr(code) for code in (*range(0x09), *range(0x0E, 0x1B), *range(0x1C, 0x20))]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is to do."""


# --- files ------------------------------------------------------------------------------------


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
    visible, data = 0, b"-"
    while data:
        data = file.read(PIECE_BYTES)
        held = len(decoder.getstate()[0])  # bytes of a character cut by the end of the last piece
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            kind = "a binary file" if b"\x00" in head else "not UTF-8"
            raise CorpusError(
                f"{name} is {kind} (byte {at - held + error.start:,} cannot be read as text). "
                "Save it as plain text in UTF-8."
            ) from error
        if any(char in text for char in _CONTROL):
            raise CorpusError(f"{name} is a binary file, not text. Save it as plain text in UTF-8.")
        at += len(data)
        visible += len(text.strip())
        if text:
            yield text
    if visible < 2:
        held = "a single character" if visible else "no text"
        raise CorpusError(f"{name} holds {held}. Use a text of some thousands of characters.")


# --- texts in pieces --------------------------------------------------------------------------


def survey(text: TextFile | Sequence[str], progress: Progress) -> tuple[int, str]:
    """How many characters a text has, and the SHA-256 of its UTF-8 bytes."""
    characters, digest = 0, hashlib.sha256()
    for number, piece in enumerate(text, start=1):
        characters += len(piece)
        digest.update(piece.encode("utf-8", "replace"))
        progress("reading the text", number, len(text))
    return characters, digest.hexdigest()


def part(text: Iterable[str], start: int, end: int) -> Iterator[str]:
    """The characters from number `start` to before number `end` of a text, a piece at a time."""
    at = 0
    for piece in text:
        if at + len(piece) > start:
            yield piece[max(0, start - at) : end - at]
        at += len(piece)
        if at >= end:
            return


def encode(tokenizer: Tokenizer, text: Iterable[str]) -> np.ndarray:
    """The ids of a text, (N,) uint16, for a tokenizer of at most 65,536 ids.

    Raises:
        TokenizerError: the tokenizer cannot take the text.
    """
    ids = array("H")  # grows in place
    for some in tokenizer.encode_pieces(text):
        ids.fromlist(some)
    return np.frombuffer(ids, dtype=np.uint16)


# --- progress ---------------------------------------------------------------------------------


def watched(
    text: Iterable[str], phase: str, done: int, total: int, progress: Progress
) -> Iterator[str]:
    """The pieces of a text; each is reported, in characters, when the next one is asked for.

    Args:
        text: what is gone through.
        phase: what is being done with it.
        done: characters that were done before.
        total: characters at the end.
        progress: whom to tell.
    """
    for piece in text:
        yield piece
        done += len(piece)
        progress(phase, done, total)


def seldom(progress: Progress | None) -> Progress:
    """`progress` for frequent use: told every tenth of a second, and when a phase is done."""
    told = 0.0

    def tell(phase: str, done: int, total: int) -> None:
        nonlocal told
        if progress and (done >= total or time.monotonic() - told >= PROGRESS_SECONDS):
            progress(phase, done, total)
            told = time.monotonic()

    return tell
