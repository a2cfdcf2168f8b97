"""Reads one dialogue bank. The format stands in `corpora/dialogue/README.md`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from picogpt.errors import CorpusError
from trainers.bank_parts import Exchange, Flow, Intent, LineNumbers, Slots, Table

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_SLOT_NAME = re.compile(r"[a-z][a-z0-9_]*")
_HEADER = re.compile(r"\[|(?:flow|list|table)\b(?!\s*:)")
_KEYS = ("ask", "test", "say", "why", "more", "another", "expect", "place")
_CHOICES = {"another": ("yes", "no"), "place": ("first", "last")}


@dataclass(frozen=True)
class ParsedBank:
    """What one file holds: its slots, and its intents and flows with their places."""

    slots: Slots
    parts: tuple[tuple[Intent | Flow, LineNumbers], ...]


@dataclass(frozen=True)
class _Raw:
    """The lines of one part, with their numbers; the first is its header."""

    lines: tuple[tuple[int, str], ...]

    @property
    def header(self) -> str:
        return self.lines[0][1]


class _LineError(Exception):
    """A line that does not fit the format; becomes a CorpusError that names the file."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(what)
        self.number, self.what = number, what


def built_in_tables() -> dict[str, Table]:
    """The tables `plus` and `minus` (sums to 20) and `times` (to 10 x 10), in figures."""
    sums = [(a, b, a + b) for a in range(21) for b in range(21 - a)]
    figures = {
        "plus": sums,
        "minus": [(total, a, b) for a, b, total in sums],
        "times": [(a, b, a * b) for a in range(11) for b in range(11)],
    }
    columns = ("a", "b", "result")
    return {
        name: Table(name, columns, tuple(tuple(map(str, row)) for row in rows))
        for name, rows in figures.items()
    }


def parse_bank(text: str, file: str, complain: Callable[[str], None]) -> ParsedBank:
    """The parts of one bank.

    Args:
        text: what the file holds.
        file: its name, for the messages; the topic is the name without its ending.
        complain: called with one sentence for each malformed part, which is left out.
    """
    topic = file.rsplit(".", 1)[0]
    raws = _cut(text, file, complain)
    tables = built_in_tables()
    for raw in raws:
        if raw.header.startswith(("list", "table")):
            try:
                table = _table(raw)
                if table.name in tables:
                    raise _LineError(raw.lines[0][0], f"the table {table.name!r} exists already.")
                tables[table.name] = table
            except _LineError as bad:
                complain(f"{file}, line {bad.number}: {bad.what}")
    slots, parts = Slots(tables), []
    for raw in raws:
        if raw.header.startswith(("[", "flow")):
            read = _intent if raw.header.startswith("[") else _flow
            try:
                parts.append(read(raw, topic, slots))
            except _LineError as bad:
                complain(f"{file}, line {bad.number}: {bad.what}")
    return ParsedBank(slots, tuple(parts))


def _cut(text: str, file: str, complain: Callable[[str], None]) -> list[_Raw]:
    """The file cut at its headers, notes and empty lines left out."""
    parts: list[list[tuple[int, str]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if _HEADER.match(line):
            parts.append([(number, stripped)])
        elif parts:
            parts[-1].append((number, stripped))
        else:
            complain(f"{file}, line {number}: {stripped!r} stands before the first part.")
    return [_Raw(tuple(part)) for part in parts]


def _table(raw: _Raw) -> Table:
    number, header = raw.lines[0]
    kind, _, rest = header.partition(" ")
    name, mark, cells = rest.partition("=" if kind == "list" else ":")
    name = name.strip()
    if not mark or not _SLOT_NAME.fullmatch(name):
        shape = "list name = one, two" if kind == "list" else "table name: column, column"
        raise _LineError(number, f"{header!r} is not of the form {shape!r}.")
    first = _cells(number, cells)
    if kind == "list":
        if len(raw.lines) > 1:
            raise _LineError(raw.lines[1][0], "a list ends with its line.")
        return Table(name, ("name",), tuple((cell,) for cell in first))
    for column in first:
        if not _SLOT_NAME.fullmatch(column) or first.count(column) > 1:
            raise _LineError(number, f"the column {column!r} is no name, or stands twice.")
    rows = tuple(_row(number, line, first) for number, line in raw.lines[1:])
    if not rows:
        raise _LineError(number, f"the table {name!r} has no rows. Indent them below its header.")
    return Table(name, first, rows)


def _row(number: int, line: str, columns: tuple[str, ...]) -> tuple[str, ...]:
    cells = _cells(number, line)
    if len(cells) != len(columns):
        raise _LineError(
            number, f"the row {line!r} has {len(cells)} cells; the table has {len(columns)}."
        )
    return cells


def _cells(number: int, line: str) -> tuple[str, ...]:
    cells = tuple(cell.strip() for cell in line.split(","))
    for cell in cells:
        if not cell or "{" in cell or "}" in cell:
            raise _LineError(number, f"{line!r} has an empty cell, or one with a brace.")
    return cells


def _intent(raw: _Raw, topic: str, slots: Slots) -> tuple[Intent, LineNumbers]:
    start, header = raw.lines[0]
    name = header[1:-1]
    if not header.endswith("]") or not _NAME.fullmatch(name):
        raise _LineError(start, f"{header!r} is no intent name: [lower-case-with-hyphens].")
    values: dict[str, list[str]] = {key: [] for key in _KEYS}
    numbers: dict[str, list[int]] = {key: [] for key in _KEYS}
    for number, line in raw.lines[1:]:
        key, value = _key_value(number, line, _KEYS)
        if key in ("another", "expect", "place") and values[key]:
            raise _LineError(number, f"{name!r} has a second line {key!r}.")
        if value not in _CHOICES.get(key, (value,)):
            known = " or ".join(map(repr, _CHOICES[key]))
            raise _LineError(number, f"{key} is {value!r}; it is {known}.")
        _check_slots(number, value, slots)
        values[key].append(value)
        numbers[key].append(number)
    for key in ("ask", "say"):
        if not values[key]:
            raise _LineError(start, f"the intent {name!r} has no line {key!r}.")
    expect = tuple(word.strip() for word in "|".join(values["expect"]).split("|"))
    if values["expect"] and not all(expect):
        raise _LineError(numbers["expect"][0], "an expected word is empty.")
    texts = {key: tuple(values[key]) for key in ("ask", "test", "say", "why", "more")}
    intent = Intent(
        name,
        topic,
        **texts,
        another=values["another"] == ["yes"],
        expect=expect if values["expect"] else (),
        place="".join(values["place"]),
    )
    return intent, LineNumbers(start, {key: tuple(found) for key, found in numbers.items()})


def _flow(raw: _Raw, topic: str, slots: Slots) -> tuple[Flow, LineNumbers]:
    start, header = raw.lines[0]
    name = header.removeprefix("flow").strip()
    if not _NAME.fullmatch(name):
        raise _LineError(start, f"{header!r} is no flow name: flow lower-case-with-hyphens.")
    turns: list[tuple[str, list[str], bool]] = []
    numbers: dict[str, tuple[int, ...]] = {}
    gap = False
    for number, line in raw.lines[1:]:
        if line == "...":
            if not turns or turns[-1][0] != "pico":
                raise _LineError(number, "a gap '...' stands after a line of pico.")
            gap = True
            continue
        speaker, text = _key_value(number, line, ("user", "pico"))
        _check_slots(number, text, slots)
        numbers.setdefault(text, (number,))
        if turns and turns[-1][0] == speaker and not gap:
            turns[-1][1].append(text)
            continue
        if (speaker == "user") == (len(turns) % 2 == 1):
            raise _LineError(number, f"{line!r} stands where {_next_speaker(turns)} speaks.")
        turns.append((speaker, [text], gap))
        gap = False
    if not turns or turns[-1][0] != "pico" or gap:
        raise _LineError(start, f"the flow {name!r} does not end with a line of pico.")
    pairs = zip(turns[::2], turns[1::2], strict=True)
    steps = tuple(Exchange(tuple(u[1]), tuple(p[1]), gap=u[2]) for u, p in pairs)
    return Flow(name, topic, steps), LineNumbers(start, numbers)


def _next_speaker(turns: list[tuple[str, list[str], bool]]) -> str:
    return "pico" if len(turns) % 2 else "user"


def _key_value(number: int, line: str, keys: tuple[str, ...]) -> tuple[str, str]:
    key, colon, value = line.partition(":")
    key, value = key.strip(), " ".join(value.split())
    if not colon or key not in keys:
        known = ", ".join(f"{known}:" for known in keys)
        raise _LineError(number, f"{line!r} starts with none of {known}")
    if not value:
        raise _LineError(number, f"the line {key!r} is empty.")
    return key, value


def _check_slots(number: int, text: str, slots: Slots) -> None:
    try:
        slots.line(text)
    except CorpusError as error:
        raise _LineError(number, str(error)) from error
