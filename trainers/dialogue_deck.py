"""Banks made ready for drawing: lines cut at their slots, weights, and what must not meet."""

from __future__ import annotations

import math
import random
from bisect import bisect
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, TypeVar

from picogpt.errors import CorpusError
from trainers.bank_parts import (
    Banks,
    Flow,
    Intent,
    Line,
    Ref,
    Slots,
    Table,
    combinations,
    normal_form,
    tables_in,
)
from trainers.dialogue_noise import Pieces

MAX_WEIGHT = 20.0
"""Most weight of one intent; one without slots and with 15 phrasings has 3.9."""
MAX_FLOW_WEIGHT = 12.0
"""Most weight of one flow; one without slots and with 8 phrasings has 2.8."""
FOLLOW_UPS = ("another", "why", "more", "repeat")
"""`follow-why` and so on: intents that hold the phrasings of follow-ups."""
ALIKE = 0.75
"""From this share of common words on, two phrasings are taken to ask the same."""

Rows = dict[str, tuple[str, ...]]
"""Table to the row that is bound for now."""


@dataclass(frozen=True)
class Ready:
    """An intent, ready to be drawn."""

    intent: Intent
    ask: tuple[Line, ...]
    test: tuple[Line, ...]
    expect: tuple[Line, ...]
    say: tuple[Line, ...]
    why: tuple[Line, ...]
    more: tuple[Line, ...]
    weight: float

    @property
    def another(self) -> tuple[Line, ...]:
        """Answers to "another one"."""
        return self.say if self.intent.another else ()


@dataclass(frozen=True)
class ReadyStep:
    """One exchange of a flow."""

    user: tuple[Line, ...]
    pico: tuple[Line, ...]
    gap: bool


@dataclass(frozen=True)
class ReadyFlow:
    """A flow, ready to be drawn."""

    steps: tuple[ReadyStep, ...]
    tables: tuple[Table, ...]
    banned: frozenset[str]
    """Intents that would contradict what is to be remembered."""
    weight: float


Part = TypeVar("Part")


class Urn(Generic[Part]):
    """Draws parts by weight."""

    def __init__(self, parts: Sequence[Part], weights: Iterable[float]) -> None:
        self.parts = parts
        self.sums = list(accumulate(weights))

    def draw(self, rng: random.Random) -> Part:
        """One part, with the chance of its weight; the urn must not be empty."""
        return self.parts[bisect(self.sums, rng.random() * self.sums[-1])]


class Deck:
    """All parts of some banks, ready to be drawn.

    Args:
        banks: what `load_banks` gave.

    Raises:
        CorpusError: no intent is left that training may see.
    """

    def __init__(self, banks: Banks) -> None:
        self.tests = {normal_form(text) for intent in banks.intents for text in intent.test}
        every = [self._ready(intent, banks.slots[intent.topic]) for intent in banks.intents]
        named = {f"follow-{kind}": kind for kind in FOLLOW_UPS}
        self.every = [ready for ready in every if ready.intent.name not in named]
        self.follow = {
            named[ready.intent.name]: ready
            for ready in every
            if ready.ask and ready.intent.name in named
        }
        self._named = {r.intent.name: set(tables_in(r.ask)) for r in self.every}
        self._phrasings = _Phrasings(
            (ready.intent.name, _words(text)) for ready in self.every for text in ready.intent.ask
        )
        trained = [ready for ready in self.every if ready.ask]
        if not trained:
            raise CorpusError("The dialogue banks hold no intent. Add one with ask and say lines.")
        self.first, self.last = (_urn(trained, place) for place in ("first", "last"))
        middle = [ready for ready in trained if not ready.intent.place] or trained
        topics = dict.fromkeys(ready.intent.topic for ready in middle)
        self.topics = {t: _urn([r for r in middle if r.intent.topic == t]) for t in topics}
        shares = (math.sqrt(urn.sums[-1]) for urn in self.topics.values())
        self.topic_urn = Urn(list(topics), shares)
        flows = [self._flow(flow, banks.slots[flow.topic]) for flow in banks.flows]
        flows = [flow for flow in flows if all(step.user for step in flow.steps)]
        self.flows = Urn(flows, (flow.weight for flow in flows))

    def _lines(self, texts: Iterable[str], slots: Slots) -> tuple[Line, ...]:
        """Phrasings that training may see."""
        return tuple(slots.line(text) for text in texts if normal_form(text) not in self.tests)

    def _ready(self, intent: Intent, slots: Slots) -> Ready:
        ask = self._lines(intent.ask, slots)
        return Ready(
            intent,
            ask,
            *(
                tuple(map(slots.line, texts))
                for texts in (intent.test, intent.expect, intent.say, intent.why, intent.more)
            ),
            weight=_weight(sum(combinations([line]) for line in ask)),
        )

    def _flow(self, flow: Flow, slots: Slots) -> ReadyFlow:
        steps = tuple(
            ReadyStep(self._lines(s.user, slots), tuple(map(slots.line, s.pico)), s.gap)
            for s in flow.exchanges
        )
        tables = tables_in(line for step in steps for line in (*step.user, *step.pico))
        ways = math.prod(len(table.rows) for table in tables.values())
        banned = self._rivals(flow, tables) if any(step.gap for step in steps) else frozenset()
        weight = _weight(sum(len(step.user) for step in steps) * ways, MAX_FLOW_WEIGHT)
        return ReadyFlow(steps, tuple(tables.values()), banned, weight)

    def _rivals(self, flow: Flow, tables: Collection[str]) -> frozenset[str]:
        """Intents that name a value of the flow's tables, or ask what the flow asks."""
        naming = {name for name, named in self._named.items() if not named.isdisjoint(tables)}
        asked = (_words(line) for step in flow.exchanges for line in step.user)
        return frozenset(naming.union(*map(self._phrasings.owners, asked)))


class _Phrasings:
    """Phrasings as sets of words, and who owns those that are like another.

    Two sets of which three quarters are common share one of the rarest words of each, so only
    phrasings that do are compared (prefix filtering; Bayardo et al. 2007, "Scaling up all pairs
    similarity search").
    """

    def __init__(self, owned: Iterable[tuple[str, frozenset[str]]]) -> None:
        owned = list(owned)
        self._often = Counter(word for _, words in owned for word in words)
        self._by_word: dict[str, list[tuple[str, frozenset[str]]]] = {}
        for name, words in owned:
            for word in self._rarest(words):
                self._by_word.setdefault(word, []).append((name, words))

    def owners(self, words: frozenset[str]) -> set[str]:
        """Who owns a phrasing that is like `words`."""
        near = (item for word in self._rarest(words) for item in self._by_word.get(word, ()))
        return {name for name, other in near if _alike(words, other)}

    def _rarest(self, words: frozenset[str]) -> list[str]:
        """So many of the rarest words that all the others are too few to be alike by."""
        ordered = sorted(words, key=lambda word: (self._often[word], word))
        return ordered[: len(words) - math.ceil(ALIKE * len(words)) + 1]


def _weight(ways: int, most: float = MAX_WEIGHT) -> float:
    return min(math.sqrt(ways), most)


def _urn(parts: Sequence[Ready], place: str | None = None) -> Urn[Ready]:
    parts = [part for part in parts if place is None or part.intent.place == place]
    return Urn(parts, (part.weight for part in parts))


def _words(text: str) -> frozenset[str]:
    return frozenset(normal_form(text).split())


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= ALIKE * len(one | other)


def bind(tables: Iterable[Table], rows: Rows, rng: random.Random) -> None:
    """Give each table that has no row yet a random one, in `rows`."""
    for table in tables:
        if table.name not in rows:
            rows[table.name] = table.rows[int(rng.random() * len(table.rows))]


def fill(line: Line, rows: Rows, rng: random.Random) -> Pieces:
    """A line with its slots filled; a table that has no row yet is given one, in `rows`."""
    pieces = []
    for piece in line:
        if isinstance(piece, Ref):
            bind((piece.table,), rows, rng)
            pieces.append((rows[piece.table.name][piece.column], piece.spelling))
        else:
            pieces.append((piece, ""))
    return pieces


def text_of(pieces: Pieces) -> str:
    """The filled line."""
    return "".join([text for text, _ in pieces])


def form_of(pieces: Pieces) -> str:
    """The identity of a filled line's phrasing, with its slots in place of their values."""
    return normal_form("".join([slot or text for text, slot in pieces]))
