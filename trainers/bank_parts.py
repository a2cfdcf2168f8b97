"""The parts of a dialogue bank: tables for slots, intents, flows.

The format stands in `corpora/dialogue/README.md`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from picogpt.errors import CorpusError

SLOT = re.compile(r"\{([^{}]*)\}")
_MARKS = re.compile(r"[^\w\s{}+*/=]+|_+")
_APOSTROPHES = re.compile(r"['’]")


@dataclass(frozen=True, eq=False)
class Table:
    """Values for slots. A list is a table of one column. Equal only to itself."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Ref:
    """A slot in a line: one column of one table."""

    table: Table
    column: int

    @property
    def spelling(self) -> str:
        """The slot as a line has it."""
        column = f".{self.table.columns[self.column]}" if self.column else ""
        return f"{{{self.table.name}{column}}}"


Line = tuple[str | Ref, ...]
"""A line cut at its slots."""


@dataclass(frozen=True)
class Slots:
    """The lists and tables of one file, the built-in ones among them."""

    tables: Mapping[str, Table]

    def line(self, text: str) -> Line:
        """`text` cut at its slots.

        Raises:
            CorpusError: a slot is not defined, or a brace stands alone.
        """
        pieces: list[str | Ref] = []
        for i, piece in enumerate(SLOT.split(text)):
            if i % 2:
                pieces.append(self._ref(piece))
            elif "{" in piece or "}" in piece:
                raise CorpusError(f"A brace stands alone in {text!r}. Write slots as {{name}}.")
            elif piece:
                pieces.append(piece)
        return tuple(pieces)

    def _ref(self, slot: str) -> Ref:
        name, dot, column = slot.partition(".")
        table = self.tables.get(name)
        if table is None:
            raise CorpusError(f"The slot {{{slot}}} is not defined. Add a list or table {name!r}.")
        if not dot:
            return Ref(table, 0)
        if column not in table.columns:
            known = ", ".join(table.columns)
            raise CorpusError(f"The slot {{{slot}}} names no column. {name!r} has: {known}.")
        return Ref(table, table.columns.index(column))


@dataclass(frozen=True)
class Intent:
    """One thing a person may want. Lines still hold their slots."""

    name: str
    topic: str
    """The file it stands in, without the ending."""
    ask: tuple[str, ...]
    test: tuple[str, ...]
    """Phrasings kept for the evaluation."""
    say: tuple[str, ...]
    why: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    another: bool = False
    expect: tuple[str, ...] = ()
    """Words of which a right answer holds at least one."""
    place: str = ""
    """`first` or `last` when it only opens or only closes a conversation."""


@dataclass(frozen=True)
class Exchange:
    """One step of a flow: the alternatives of either speaker."""

    user: tuple[str, ...]
    pico: tuple[str, ...]
    gap: bool = False
    """Whether other exchanges may stand before it."""


@dataclass(frozen=True)
class Flow:
    """A conversation written out in turns; its slots hold one value all the way through."""

    name: str
    topic: str
    exchanges: tuple[Exchange, ...]

    @property
    def lines(self) -> Iterator[str]:
        """Every line of either speaker."""
        return (line for step in self.exchanges for line in (*step.user, *step.pico))


@dataclass(frozen=True)
class Banks:
    """Everything a folder of banks holds, in the order of file names and lines."""

    intents: tuple[Intent, ...]
    flows: tuple[Flow, ...]
    slots: Mapping[str, Slots]
    """Topic to its slots."""

    @property
    def topics(self) -> tuple[str, ...]:
        """Names of the files that hold an intent or a flow."""
        return tuple(dict.fromkeys(part.topic for part in (*self.intents, *self.flows)))


def normal_form(text: str) -> str:
    """What is left of a phrasing without capitals and marks: its identity."""
    words = _MARKS.sub(" ", _APOSTROPHES.sub("", text.casefold())).split()
    return " ".join(words) if words else text.strip()


def tables_in(lines: Iterable[Line]) -> dict[str, Table]:
    """The tables that lines take their slots from, by name, in order of appearance."""
    return {ref.table.name: ref.table for line in lines for ref in line if isinstance(ref, Ref)}


def combinations(lines: Iterable[Line]) -> int:
    """In how many ways the slots of these lines can be filled."""
    return math.prod(len(table.rows) for table in tables_in(lines).values())


@dataclass(frozen=True)
class LineNumbers:
    """Where the lines of one part stand in its file, from 1."""

    start: int
    by_key: Mapping[str, tuple[int, ...]]
    """Key of an intent's line (`ask` ...), or the text of a flow's line, to line numbers."""

    def of(self, line: str) -> int:
        """Where a flow's line stands."""
        return self.by_key[line][0]
