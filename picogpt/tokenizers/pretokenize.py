"""GPT-2's first two steps: text into words, and bytes into characters that can be printed.

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" (GPT-2), and
the `encoder.py` released with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import regex

from picogpt.tokenizers.base import well_formed

LONGEST_WORD = 1 << 18  # characters; a longer run (letters without end) is cut, to bound memory
_BLOCK_CHARS = 1 << 18  # characters cut into words at a time, to bound memory
_LOOK_AHEAD = 2  # characters after a word that can decide where it ends


def word_pattern(longest: int) -> regex.Pattern[str]:
    """Gives GPT-2's pattern of a word, with at most `longest` letters, digits, signs or spaces.

    Merges never cross the border of a word. A word takes the space before it along; letters,
    digits and other signs are kept apart; English contractions are cut off.
    """
    gpt2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    return regex.compile(gpt2.replace("+", f"{{1,{longest}}}"))


WORD = word_pattern(LONGEST_WORD)


def word_blocks(pieces: Iterable[str]) -> Iterator[list[str]]:
    """Cuts a text into words, a list for every quarter of a million characters or so.

    The words joined are the text. Where the pieces end changes neither the words nor the lists.

    Args:
        pieces: One text, whole or in pieces; none begins inside a surrogate pair.
    """
    rest = ""
    for block in _blocks(pieces):
        words = WORD.findall(rest + block)
        rest = ""
        while words and len(rest) < _LOOK_AHEAD:  # the next block may change these
            rest = words.pop() + rest
        yield words
    yield WORD.findall(rest)


def _blocks(pieces: Iterable[str]) -> Iterator[str]:
    """Runs `pieces` together and cuts them anew; all blocks but the last are equally long."""
    held = ""
    for piece in map(well_formed, pieces):
        start = 0
        while len(held) + len(piece) - start >= _BLOCK_CHARS:
            end = start + _BLOCK_CHARS - len(held)
            yield held + piece[start:end]
            held, start = "", end
        held += piece[start:]
    yield held


def _printable_bytes() -> dict[int, str]:
    """Gives each byte a visible character: itself where it has one, else one from U+0100 on."""
    visible = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {
        byte: chr(256 + place) for place, byte in enumerate(hidden)
    }


BYTE_TO_CHAR: dict[int, str] = _printable_bytes()
CHAR_TO_BYTE: dict[str, int] = {char: byte for byte, char in BYTE_TO_CHAR.items()}
