"""GPT-2's first two steps: text into words, and bytes into characters that can be printed.

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" (GPT-2), and
the `encoder.py` released with it.
"""

from __future__ import annotations

from collections.abc import Iterator

import regex

# Merges never cross the border of a word. A word takes the space before it along; letters, digits
# and other signs are kept apart; English contractions are cut off.
WORD = regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")

# No word goes from a visible character on to a space, so a long text can be cut there.
_SAFE_CUT = regex.compile(r"(?<=\S)(?=\s)")
_BLOCK_CHARS = 1 << 18  # characters cut into words at a time, to bound the memory in use


def word_blocks(text: str) -> Iterator[list[str]]:
    """Cuts `text` into words, a list for every quarter of a million characters or so.

    The words joined are the text, and are the same as if it were cut all at once.
    """
    start = 0
    while start < len(text):
        cut = _SAFE_CUT.search(text, start + _BLOCK_CHARS)
        end = cut.start() if cut else len(text)
        yield WORD.findall(text, start, end)
        start = end


def _printable_bytes() -> dict[int, str]:
    """Gives each byte a visible character: itself where it has one, else one from U+0100 on."""
    visible = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {
        byte: chr(256 + place) for place, byte in enumerate(hidden)
    }


BYTE_TO_CHAR: dict[int, str] = _printable_bytes()
CHAR_TO_BYTE: dict[str, int] = {char: byte for byte, char in BYTE_TO_CHAR.items()}
