"""What dialogue banks hold, in numbers, and where they are thinner than they should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from trainers.bank_parts import Banks, Intent, Line, Slots, normal_form, tables_in

ALIKE = 0.85
"""Phrasings of one intent with a higher difflib ratio count once."""
LEAST = {"ask": 8, "test": 2, "say": 4}
"""Lines that the README of the banks asks for, by key."""


@dataclass(frozen=True)
class Statistics:
    """What banks hold, in lines."""

    intents: int
    flows: int
    asks: int
    tests: int
    says: int
    whys: int
    mores: int
    distinct_phrasings: int
    """Ask and test lines, those that are nearly alike within an intent counted once."""


def statistics(banks: Banks, topic: str | None = None) -> Statistics:
    """Counts over all banks, or over one topic.

    Args:
        banks: what `load_banks` gave.
        topic: a file's name without its ending; None for all.
    """
    intents = [part for part in banks.intents if topic in (None, part.topic)]
    return Statistics(
        intents=len(intents),
        flows=sum(topic in (None, flow.topic) for flow in banks.flows),
        asks=sum(len(intent.ask) for intent in intents),
        tests=sum(len(intent.test) for intent in intents),
        says=sum(len(intent.say) for intent in intents),
        whys=sum(len(intent.why) for intent in intents),
        mores=sum(len(intent.more) for intent in intents),
        distinct_phrasings=sum(distinct(intent.ask + intent.test) for intent in intents),
    )


def distinct(phrasings: Sequence[str]) -> int:
    """How many of the phrasings are not nearly alike to one counted before."""
    kept: list[str] = []
    for form in map(normal_form, phrasings):
        matcher = SequenceMatcher(b=form, autojunk=False)
        if not any(_alike(matcher, other) for other in kept):
            kept.append(form)
    return len(kept)


def _alike(matcher: SequenceMatcher, other: str) -> bool:
    matcher.set_seq1(other)
    return (
        matcher.real_quick_ratio() > ALIKE
        and matcher.quick_ratio() > ALIKE
        and matcher.ratio() > ALIKE
    )


def shortcomings(banks: Banks) -> list[str]:
    """What could be better in banks that load: one sentence each, empty when all is well.

    Too few lines; answers that hold no expected word; phrasings without a slot that the answers
    or the expected words take from the phrasing.
    """
    return [
        f"{intent.topic}.txt, [{intent.name}]: {what}"
        for intent in banks.intents
        for what in (*_thin(intent), *_unexpected(intent, banks), *_unasked(intent, banks))
    ]


def _thin(intent: Intent) -> list[str]:
    counts = {"ask": len(intent.ask), "test": len(intent.test), "say": len(intent.say)}
    return [
        f"{counts[key]} {key} lines; there should be {least} or more."
        for key, least in LEAST.items()
        if counts[key] < least
    ]


def _unexpected(intent: Intent, banks: Banks) -> list[str]:
    slots = banks.slots[intent.topic]
    wanted = [slots.line(word) for word in intent.expect]
    return [
        f"the answer {text!r} holds no expected word."
        for text in intent.say
        if wanted and not _holds_one(slots.line(text), wanted)
    ]


def _holds_one(answer: Line, wanted: Sequence[Line]) -> bool:
    """Whether the answer holds an expected word, whatever row its tables are at."""
    tables = tables_in([answer, *wanted]).values()
    for i in range(max((len(table.rows) for table in tables), default=1)):
        text = _at_row(answer, i).casefold()
        if not any(_at_row(word, i).casefold() in text for word in wanted):
            return False
    return True


def _at_row(line: Line, i: int) -> str:
    texts = []
    for piece in line:
        if isinstance(piece, str):
            texts.append(piece)
        else:
            rows = piece.table.rows
            texts.append(rows[i % len(rows)][piece.column])
    return "".join(texts)


def _unasked(intent: Intent, banks: Banks) -> list[str]:
    slots: Slots = banks.slots[intent.topic]
    answers = tables_in(map(slots.line, (*intent.say, *intent.expect)))
    asked = {line: tables_in([slots.line(line)]) for line in (*intent.ask, *intent.test)}
    shared = [name for name in answers if any(name in tables for tables in asked.values())]
    return [
        f"{line!r} lacks {{{name}}}, which its answers speak of."
        for line, tables in asked.items()
        for name in shared
        if name not in tables
    ]
