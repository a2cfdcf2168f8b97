"""Texts of any length: measured, learned from and encoded without being in memory as a whole."""

from __future__ import annotations

import hashlib
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np

from picogpt.tokenizers import BPETokenizer, CharTokenizer, Tokenizer
from trainers.text_file import TextFile

TRAIN_SHARE = 0.9
"""The first `int(0.9 * characters)` characters train; the rest is held out."""
PRINTABLE = "\n" + "".join(map(chr, range(32, 127)))
"""Characters that every char vocabulary holds, so that ordinary typing can be encoded."""
PROGRESS_SECONDS = 0.1
"""Least time between two calls of a progress function, unless something is done."""

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is in all."""


class BigText:
    """A text that is gone through a piece at a time, as often as need be.

    What is made of it is the same as if it were one string. Making the object goes through it a
    first time, to measure and check it.

    Args:
        text: a file, or a string, which is one piece.
        progress: told some ten times a second how far a pass has come, in pieces, characters or
            merges. What it raises ends the work.

    Attributes:
        characters: its length.
        sha256: of its UTF-8 bytes.
        cut: how many of its characters train.

    Raises:
        CorpusError: the file is not a text we can read; so do the methods if it has changed.
    """

    def __init__(self, text: str | TextFile, progress: Progress | None = None) -> None:
        self._pieces = (text,) if isinstance(text, str) else text
        self._tell = _seldom(progress)
        digest = hashlib.sha256()
        self.characters = 0
        for number, piece in enumerate(self._pieces):
            self._tell("reading the text", number, len(self._pieces))
            self.characters += len(piece)
            digest.update(piece.encode("utf-8", "replace"))
        self._tell("reading the text", len(self._pieces), len(self._pieces))
        self.sha256 = digest.hexdigest()
        self.cut = int(TRAIN_SHARE * self.characters)

    def part(self, phase: str, start: int, end: int, total: int) -> Iterator[str]:
        """The characters from number `start` to before number `end`, a piece at a time.

        Args:
            phase: what is done with them; a piece is reported when the next one is asked for.
            start: first character.
            end: the character after the last.
            total: how many characters the whole phase goes through.
        """
        at = 0
        for piece in self._pieces:
            if at + len(piece) > start:
                yield piece[max(0, start - at) : end - at]
                self._tell(phase, min(at + len(piece), end), total)
            at += len(piece)
            if at >= end:
                return

    def fit_tokenizer(self, kind: str, vocab_size: int) -> Tokenizer:
        """A tokenizer for the text: its characters and printable ASCII, or BPE.

        BPE learns its merges from the part that trains; an alphabet needs the characters of all.

        Args:
            kind: `char` or `bpe`.
            vocab_size: most ids of a BPE vocabulary.

        Raises:
            TokenizerError: `vocab_size` is too small for BPE.
        """
        if kind == "char":
            whole = self.part("collecting characters", 0, self.characters, self.characters)
            return CharTokenizer.train(whole, also=PRINTABLE)
        head = self.part("counting words", 0, self.cut, self.cut)
        learning = partial(self._tell, "learning merges")
        return BPETokenizer.train(head, vocab_size, progress=learning)

    def encode(self, tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
        """The ids of what trains and of what is held out, uint16.

        Args:
            tokenizer: has at most 65,536 ids.

        Raises:
            TokenizerError: the tokenizer cannot take the text.
        """
        end = self.characters
        train = _ids(tokenizer, self.part("encoding", 0, self.cut, end))
        return train, _ids(tokenizer, self.part("encoding", self.cut, end, end))


def _ids(tokenizer: Tokenizer, pieces: Iterable[str]) -> np.ndarray:
    """(N,) uint16 ids of a text in pieces."""
    ids = array("H")  # grows in place
    for some in tokenizer.encode_pieces(pieces):
        ids.fromlist(some)
    return np.frombuffer(ids, dtype=np.uint16)


def _seldom(progress: Progress | None) -> Progress:
    """`progress` for frequent use: told when a phase is done, and otherwise not too often."""
    told = 0.0

    def tell(phase: str, done: int, total: int) -> None:
        nonlocal told
        if progress and (done >= total or time.monotonic() - told >= PROGRESS_SECONDS):
            progress(phase, done, total)
            told = time.monotonic()

    return tell
