"""Draws conversations from dialogue banks: endless, and the same for the same seed.

A conversation mixes exchanges of changing topics, follow-ups ("why?", "tell me more", "another
one", "what did you say?") and flows, whose gaps are filled with other exchanges so that the model
learns to carry a name over them. Only the user's lines get noise; Pico's are as written.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from picogpt.chat import Turn
from trainers.bank_parts import Banks, Line
from trainers.dialogue_deck import (
    FOLLOW_UPS,
    Deck,
    Ready,
    ReadyFlow,
    Rows,
    Urn,
    bind,
    fill,
    form_of,
    text_of,
)
from trainers.dialogue_noise import Pieces, noisy

MAX_PAIRS = 8
SHORT = 0.15
"""Share of conversations of one or two pairs of turns; the others have three to eight."""
FLOWS = 0.35
"""Share of the longer conversations that hold a flow."""
OPENING, CLOSING = 0.25, 0.15
"""Share of conversations that start with a greeting, and that end with a goodbye."""
SAME_TOPIC = 0.5
FOLLOWING = {"another": 0.35, "why": 0.14, "more": 0.14, "repeat": 0.03}
"""Chance of each follow-up after an answer that has a line for it."""
FOLLOWING_NOTHING = 0.008
"""The same after an answer that has no line for it."""


@dataclass(frozen=True)
class HeldOut:
    """A question in words that training never saw."""

    turns: tuple[Turn, ...]
    """The conversation so far; the last turn is the user's and waits for an answer."""
    expected: tuple[str, ...]
    """A right answer holds at least one of these; capitals do not matter."""
    answer: str
    """One right answer, as the bank has it."""
    topic: str
    intent: str


def conversations(banks: Banks, seed: int) -> Iterator[list[Turn]]:
    """Endless conversations for training; phrasings marked `test:` never occur.

    Args:
        banks: what `load_banks` gave.
        seed: the same one gives the same conversations, in every process.

    Raises:
        CorpusError: the banks hold no intent that training may see.
    """
    deck, rng = Deck(banks), random.Random(seed)
    while True:
        yield _Draft(deck, rng).conversation()


def held_out(banks: Banks, seed: int, n: int) -> list[HeldOut]:
    """`n` questions in phrasings that training never sees, after none to two other exchanges.

    Every intent with `test:` and `expect:` lines comes once before any comes twice.

    Args:
        banks: what `load_banks` gave.
        seed: the same one gives the same questions.
        n: how many, 0 or more.

    Raises:
        CorpusError: the banks hold no intent that training may see.
        ValueError: n is negative.
    """
    if n < 0:
        raise ValueError(f"n is {n}; it must be 0 or more.")
    deck, rng = Deck(banks), random.Random(f"held out {seed}")
    askable = [ready for ready in deck.every if ready.test and ready.expect]
    found: list[HeldOut] = []
    shifts = {ready.intent.name: rng.randrange(len(ready.test)) for ready in askable}
    for turn in range(-(-n // len(askable)) if askable else 0):
        rng.shuffle(askable)
        for ready in askable:
            line = ready.test[(shifts[ready.intent.name] + turn) % len(ready.test)]
            found.append(_question(deck, rng, ready, line))
    return found[:n]


def _question(deck: Deck, rng: random.Random, ready: Ready, line: Line) -> HeldOut:
    draft, rows = _Draft(deck, rng), {}
    draft.used.add(ready.intent.name)
    before = 0 if ready.intent.place == "first" else rng.choice((0, 0, 1, 2))
    for _ in range(before):
        draft.exchange()
    asked = Turn("user", text_of(fill(line, rows, rng)))
    expected = tuple(text_of(fill(word, rows, rng)) for word in ready.expect)
    answer = text_of(fill(rng.choice(ready.say), rows, rng))
    return HeldOut((*draft.turns, asked), expected, answer, ready.intent.topic, ready.intent.name)


@dataclass
class _Talk:
    """What is being talked about: the intent, its slots, and which answers were given."""

    ready: Ready
    rows: Rows = field(default_factory=dict)
    given: set[Line] = field(default_factory=set)

    def fresh(self, kind: str) -> list[Line]:
        """Answers of a kind (`say`, `why`, `more`, `another`) that were not given yet."""
        lines = getattr(self.ready, kind)
        return [line for line in lines if line not in self.given]


class _Draft:
    """One conversation in the making."""

    def __init__(self, deck: Deck, rng: random.Random) -> None:
        self.deck, self.rng = deck, rng
        self.turns: list[Turn] = []
        self.used: set[str] = set()
        self.topic = ""
        self.talk: _Talk | None = None
        self.repeated = False

    @property
    def pairs(self) -> int:
        return len(self.turns) // 2

    def conversation(self) -> list[Turn]:
        """All turns, from the user's first to Pico's last."""
        rng = self.rng
        short = rng.random() < SHORT
        target = rng.randint(1, 2) if short else rng.randint(3, MAX_PAIRS)
        flow = None
        if not short and self.deck.flows.parts and rng.random() < FLOWS:
            flow = self.deck.flows.draw(rng)
            self.used |= flow.banned
        closing = rng.random() < CLOSING
        target -= closing
        if target and rng.random() < OPENING:
            self._ask_one(self.deck.first)
        if flow:
            self._with_flow(flow, target)
        self._until(target)
        if closing and not self._ask_one(self.deck.last):
            self._until(target + 1)
        return self.turns

    def _with_flow(self, flow: ReadyFlow, target: int) -> None:
        """The flow, with exchanges before it and in its gaps, within `target` pairs."""
        rng, rows = self.rng, {}
        room = max(0, target - self.pairs - len(flow.steps))
        before = rng.randint(0, min(1, room))
        self._until(self.pairs + before)
        room -= before
        bind(flow.tables, rows, rng)
        for step in flow.steps:
            if step.gap:
                filler = rng.randint(0, min(2, room))
                self._until(self.pairs + filler)
                room -= filler
            self._say(fill(rng.choice(step.user), rows, rng), rng.choice(step.pico), rows)
            self.talk = None

    def _until(self, pairs: int) -> None:
        """Exchanges and follow-ups up to that many pairs; fewer when nothing is left to ask."""
        while self.pairs < pairs:
            kind = self._follow_up()
            if kind:
                self._follow(kind)
            elif not self.exchange():
                return

    def exchange(self) -> bool:
        """A question that was not asked yet, and its answer; False when none was found."""
        rng = self.rng
        for _ in range(12):
            if self.topic not in self.deck.topics or rng.random() > SAME_TOPIC:
                self.topic = self.deck.topic_urn.draw(rng)
            if self._ask_one(self.deck.topics[self.topic]):
                return True
        return False

    def _ask_one(self, urn: Urn[Ready]) -> bool:
        """A question from the urn; False when it is empty or the question was asked before."""
        ready = urn.draw(self.rng) if urn.parts else None
        if ready is None or ready.intent.name in self.used:
            return False
        self._ask(ready)
        return True

    def _ask(self, ready: Ready) -> None:
        self.used.add(ready.intent.name)
        talk = self.talk = _Talk(ready)
        asked = fill(self.rng.choice(ready.ask), talk.rows, self.rng)
        self._answer(asked, ready.say, talk)

    def _follow_up(self) -> str | None:
        """The kind of follow-up that comes next, if one does."""
        rng, talk = self.rng, self.talk
        for kind in FOLLOW_UPS:
            if kind not in self.deck.follow:
                continue
            if kind == "repeat":
                likely = bool(self.turns) and not self.repeated
            else:
                likely = talk is not None and bool(talk.fresh(kind))
            if rng.random() < (FOLLOWING[kind] if likely else FOLLOWING_NOTHING):
                if kind == "repeat" and self.turns and not likely:
                    continue
                return kind
        return None

    def _follow(self, kind: str) -> None:
        follow, talk = self.deck.follow[kind], self.talk
        asked = fill(self.rng.choice(follow.ask), {}, self.rng)
        if kind == "repeat" and self.turns:
            last = self.turns[-1]
            self._say(asked, (last.text,), {})
            self.repeated = True
            return
        fresh = talk.fresh(kind) if talk and kind != "repeat" else []
        self._answer(asked, fresh or follow.say, talk if fresh else _Talk(follow))

    def _answer(self, asked: Pieces, lines: Sequence[Line], talk: _Talk) -> None:
        line = self.rng.choice(lines)
        talk.given.add(line)
        self._say(asked, line, talk.rows)

    def _say(self, asked: Pieces, line: Line, rows: Rows) -> None:
        """One pair of turns: the user's with noise, Pico's as written."""
        typed, changed = noisy(asked, self.rng)
        if changed and form_of(typed) in self.deck.tests:
            typed = asked
        self.turns.append(Turn("user", text_of(typed).strip()))
        self.turns.append(Turn("assistant", text_of(fill(line, rows, self.rng))))
        self.repeated = False
