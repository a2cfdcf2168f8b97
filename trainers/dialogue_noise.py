"""How people type: small letters, no full stop, a slip of the finger, a "please" or a "thanks".

A line comes as pieces, `(text, slot)`; `slot` is empty for the line's own words. Slot values are
never misspelled: what the person names stays what it is. Chances are per line.
"""

from __future__ import annotations

import random
import re

Pieces = list[tuple[str, str]]

LOWER, NO_MARK, TYPO, PREFIX, SUFFIX = 0.40, 0.45, 0.08, 0.06, 0.03
_WORD = re.compile(r"[A-Za-z]{4,}")
_FIRST = re.compile(r"[A-Za-z']+")
_WISHES = re.compile(
    r"(can|could|count|define|describe|explain|give|how|list|name|say|show|spell|tell|what|when"
    r"|where|which|who|why|would)\b"
)
_ORDERS = re.compile(
    r"(can|could|count|define|describe|explain|give|list|name|say|show|spell|tell)\b"
)
_GREETINGS = re.compile(r"(bye|good|goodbye|hello|hey|hi|hiya|morning|pico|please|thank|thanks)\b")
_KEY_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS = {
    key: row[max(0, at - 1) : at] + row[at + 1 : at + 2]
    for row in _KEY_ROWS
    for at, key in enumerate(row)
}


def noisy(pieces: Pieces, rng: random.Random) -> tuple[Pieces, bool]:
    """A person's line as it might be typed, and whether its words changed.

    Args:
        pieces: the clean line; it is not altered.
        rng: where chance comes from.

    Returns:
        New pieces; True when there is more to it than capitals and the final mark.
    """
    chance, pieces, changed = rng.random, list(pieces), False
    if chance() < PREFIX:
        changed |= _add_prefix(pieces, rng)
    if chance() < TYPO:
        changed |= _add_typo(pieces, rng)
    if chance() < NO_MARK:
        _drop_mark(pieces)
    if chance() < SUFFIX:
        changed |= _add_suffix(pieces, rng)
    if chance() < LOWER:
        pieces = [(text.lower(), slot) for text, slot in pieces]
    return pieces, changed


def _first_word(pieces: Pieces) -> str:
    text, slot = pieces[0]
    word = _FIRST.match(text)
    return word.group().lower() if word and not slot else ""


def _add_prefix(pieces: Pieces, rng: random.Random) -> bool:
    first = _first_word(pieces)
    if _GREETINGS.match(first):
        return False
    wish = bool(_WISHES.match(first))
    polite = ("please ",) if _ORDERS.match(first) else ()
    prefix = rng.choice(("hey pico, ", "hi, ", *polite))
    text, slot = pieces[0]
    pieces[0] = (prefix + (text[0].lower() + text[1:] if wish else text), slot)
    return True


def _add_suffix(pieces: Pieces, rng: random.Random) -> bool:
    text, slot = pieces[-1]
    if text.endswith("?") and rng.random() < 0.5:
        pieces[-1] = (text + rng.choice(("?", "??", "!")), slot)
        return False
    if not _WISHES.match(_first_word(pieces)) or any("thank" in text.lower() for text, _ in pieces):
        return False
    pieces.append((rng.choice((" thanks", " thank you", ", thanks")), ""))
    return True


def _drop_mark(pieces: Pieces) -> None:
    text, slot = pieces[-1]
    bare = text.rstrip(".?!")
    if not slot and (bare.strip() or len(pieces) > 1):
        pieces[-1] = (bare, slot)


def _add_typo(pieces: Pieces, rng: random.Random) -> bool:
    words = [
        (i, found.span())
        for i, (text, slot) in enumerate(pieces) if not slot
        for found in _WORD.finditer(text)
    ]  # fmt: skip
    if not words:
        return False
    i, (start, end) = rng.choice(words)
    text = pieces[i][0]
    pieces[i] = (text[:start] + misspell(text[start:end], rng) + text[end:], "")
    return True


def misspell(word: str, rng: random.Random) -> str:
    """`word` with one slip: two letters swapped, one dropped, doubled or hit beside its key.

    Args:
        word: at least 4 ASCII letters; its first letter stays.
        rng: where chance comes from.
    """
    at = rng.randrange(1, len(word) - 1)
    letter, kind = word[at], rng.randrange(4)
    if kind == 0 and letter != word[at + 1]:
        return word[:at] + word[at + 1] + letter + word[at + 2 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    if kind == 2:
        return word[:at] + rng.choice(_NEIGHBOURS[letter.lower()]) + word[at + 1 :]
    return word[:at] + letter + word[at:]
