"""Dialogue banks: what Pico can be asked and what it answers, read from a folder of plain text.

The format stands in `corpora/dialogue/README.md`; `bank_parts.py` holds the parts of a bank,
`bank_parser.py` reads one file, `dialogue.py` draws conversations.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from picogpt.errors import CorpusError
from trainers.bank_parser import parse_bank
from trainers.bank_parts import (
    Banks,
    Exchange,
    Flow,
    Intent,
    LineNumbers,
    Slots,
    Table,
    normal_form,
)

__all__ = ["Banks", "Exchange", "Flow", "Intent", "Slots", "Table", "load_banks", "normal_form"]


def load_banks(folder: str | Path, on_problem: Callable[[str], None] | None = None) -> Banks:
    """Read every `*.txt` bank of a folder.

    Args:
        folder: where the banks are, `corpora/dialogue` as shipped.
        on_problem: called with one sentence for each malformed part, which is left out, and for
            each phrasing found twice; without it the first problem is raised.

    Raises:
        CorpusError: the folder holds no bank, or (without `on_problem`) a part is malformed, two
            intents share a name or a phrasing, or a flow uses a phrasing kept for the evaluation.
    """

    def complain(problem: str) -> None:
        if on_problem is None:
            raise CorpusError(problem)
        on_problem(problem)

    paths = sorted(Path(folder).glob("*.txt"))
    if not paths:
        raise CorpusError(f"No dialogue banks in {folder}. Put at least one .txt bank there.")
    places, names = _Places(complain), {}
    intents, flows, slots = [], [], {}
    for path in paths:
        parsed = parse_bank(_read(path, complain), path.name, complain)
        slots[path.stem] = parsed.slots
        for part, lines in parsed.parts:
            where = f"{path.name}, line {lines.start}"
            kind = "intent" if isinstance(part, Intent) else "flow"
            if (kind, part.name) in names:
                first = names[kind, part.name]
                complain(f"{where}: the {kind} {part.name!r} is already in {first}. Rename one.")
                continue
            names[kind, part.name] = where
            places.add(part, path.name, lines)
            (intents if isinstance(part, Intent) else flows).append(part)
    places.check_flows()
    return Banks(tuple(intents), tuple(flows), slots)


def _read(path: Path, complain: Callable[[str], None]) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        complain(f"{path.name}: byte {error.start} is not UTF-8. Save the file as UTF-8.")
    except OSError as error:
        complain(f"{path.name}: the file cannot be read ({error.strerror}).")
    return ""


class _Places:
    """Where each phrasing stands, to find one that stands twice."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        self.complain = complain
        self.seen: dict[str, tuple[str, str]] = {}
        self.tests: set[str] = set()
        self.flow_lines: list[tuple[str, str]] = []

    def add(self, part: Intent | Flow, file: str, lines: LineNumbers) -> None:
        if isinstance(part, Flow):
            users = (line for step in part.exchanges for line in step.user)
            self.flow_lines += [(line, f"{file}, line {lines.of(line)}") for line in users]
            return
        for key, phrasings in (("ask", part.ask), ("test", part.test)):
            for number, phrasing in zip(lines.by_key[key], phrasings, strict=True):
                self._add_phrasing(phrasing, part.name, f"{file}, line {number}")
        self.tests.update(map(normal_form, part.test))

    def _add_phrasing(self, phrasing: str, intent: str, where: str) -> None:
        form = normal_form(phrasing)
        if form in self.seen:
            first, other = self.seen[form]
            self.complain(
                f"{where}: {phrasing!r} of {intent!r} is already in {other!r} ({first}). "
                "Keep one of the two."
            )
        else:
            self.seen[form] = (where, intent)

    def check_flows(self) -> None:
        for line, where in self.flow_lines:
            if normal_form(line) in self.tests:
                first, intent = self.seen[normal_form(line)]
                self.complain(
                    f"{where}: {line!r} is kept for the evaluation of {intent!r} ({first}). "
                    "Change one of the two."
                )
