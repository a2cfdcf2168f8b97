"""Replies and completions as they are written: steps of a stream, gathered into updates.

The browser pays for every update in proportion to what it already shows, so text goes out at
once for the first token and then every `FLUSH_SECONDS`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from picogpt.chat import END_OF_TEXT, Turn, check_message, render, stop_ids
from picogpt.engine import Step
from picogpt.pico import Pico
from picogpt.sampling import SamplingConfig
from picogpt.text import with_text
from playground.live import LiveTrace, LiveTraces

FLUSH_SECONDS = 0.06
MAX_SECONDS = 120.0
"""Longest time one reply may take."""
FULL = "The context of {block} tokens became full: only the newest part is still read."


@dataclass
class Reply:
    """A reply as far as it has come. The same object is yielded again and again."""

    text: str = ""
    steps: list[Step] = field(default_factory=list)
    seconds: float = 0.0
    """From the first token to the latest."""
    first_seconds: float = 0.0
    """From the request to the first token."""
    note: str = ""
    """What a reader should know: parts of the context that were left out."""
    trace: LiveTrace | None = None
    stopped: bool = False
    """Ended by the reader."""

    @property
    def seed(self) -> int:
        """Seed of the dice."""
        return self.steps[0].seed if self.steps else 0

    @property
    def tokens_per_second(self) -> float:
        """Speed after the first token; 0 before there is a second one."""
        return (len(self.steps) - 1) / self.seconds if self.seconds > 0 else 0.0

    def caption(self, model: str) -> str:
        """Model, seed and speed, to stand under the reply."""
        count = "1 token" if len(self.steps) == 1 else f"{len(self.steps):,} tokens"
        parts = [model, f"seed {self.seed}", count]
        if self.tokens_per_second:
            parts.append(f"{self.tokens_per_second:,.0f} tokens/s")
        return ", ".join(parts) + (", stopped" if self.stopped else "")


def chat_reply(
    pico: Pico,
    turns: Sequence[Turn],
    sampling: SamplingConfig,
    max_new_tokens: int,
    stop: threading.Event | None = None,
    traces: LiveTraces | None = None,
) -> Iterator[Reply]:
    """Answer a conversation.

    Args:
        pico: a model that can chat.
        turns: oldest first, the last one the user's.
        sampling, max_new_tokens: how to write.
        stop: ends the reply within one token.
        traces: where to keep the attention for the Look inside tab.

    Raises:
        PromptError, ConfigError: nothing to answer, or not a chat model.
    """
    check_message(turns[-1].text if turns else "")
    block = pico.engine.config.block_size
    rendered = render(turns, pico.tokenizer, block, max_new_tokens)
    note = ""
    if rendered.dropped_turns:
        note = (
            f"The context holds {block} tokens: the oldest messages "
            f"({rendered.dropped_turns}) are no longer read."
        )
    if rendered.cut_tokens:
        note = (
            f"Your message is longer than the context of {block} tokens: its first "
            f"{rendered.cut_tokens:,} tokens are not read."
        )
    return _gather(
        pico, rendered.ids, sampling, max_new_tokens, stop_ids(pico.tokenizer), stop, traces, note
    )


def completion(
    pico: Pico,
    prompt: str,
    sampling: SamplingConfig,
    max_new_tokens: int,
    stop: threading.Event | None = None,
    traces: LiveTraces | None = None,
) -> Iterator[Reply]:
    """Continue a text; see `chat_reply`.

    Raises:
        PromptError, TokenizerError: an empty prompt, or characters the model has never seen.
    """
    ids = pico.encode_prompt(prompt)
    block = pico.engine.config.block_size
    note = ""
    if len(ids) > block:
        note = (
            f"The text has {len(ids):,} tokens and the context holds {block}: only the newest "
            "part is read."
        )
    special = pico.tokenizer.special_tokens
    ends = (special[END_OF_TEXT],) if END_OF_TEXT in special else ()
    return _gather(pico, ids, sampling, max_new_tokens, ends, stop, traces, note)


def _gather(
    pico: Pico,
    ids: list[int],
    sampling: SamplingConfig,
    max_new_tokens: int,
    ends: tuple[int, ...],
    stop: threading.Event | None,
    traces: LiveTraces | None,
    note: str,
) -> Iterator[Reply]:
    """Steps into updates; the last update has everything."""
    reply = Reply(note=note)
    start = time.perf_counter()
    stream = pico.engine.stream(
        ids, sampling, max_new_tokens, ends, stop, alternatives=10, attention=traces is not None
    )
    steps = with_text(stream, pico.tokenizer)
    recorder = _Recorder(pico, ids, traces) if traces is not None else None
    first = flushed = 0.0
    full = ""
    try:
        for step in steps:
            now = time.perf_counter()
            first = first or now
            reply.steps.append(step)
            reply.text += step.text
            reply.seconds, reply.first_seconds = now - first, first - start
            if step.dropped > reply.steps[0].dropped and not full:
                full = FULL.format(block=pico.engine.config.block_size)
                reply.note = f"{reply.note} {full}".strip()
            if recorder is not None:
                reply.trace = recorder.add(step)
            if now - flushed >= FLUSH_SECONDS:
                flushed = now
                yield reply
            if now - start > MAX_SECONDS:
                reply.note = f"The reply was ended after {MAX_SECONDS:.0f} seconds."
                break
    finally:
        if recorder is not None:
            recorder.end()
    reply.stopped = stop is not None and stop.is_set()
    yield reply


class _Recorder:
    """Feeds a stream's attention into a trace; a context that moves on starts a new trace."""

    def __init__(self, pico: Pico, ids: list[int], traces: LiveTraces) -> None:
        self._pico, self._ids, self._traces = pico, list(ids), traces
        self._trace: LiveTrace | None = None
        self._dropped = -1

    def add(self, step: Step) -> LiveTrace:
        """Record the row from the last token read before `step` was chosen."""
        if step.dropped != self._dropped:
            self.end()
            config, self._dropped = self._pico.engine.config, step.dropped
            self._trace = self._traces.begin(config.n_layer, config.n_head)
            context = self._ids[step.dropped :]
            self._trace.add_prompt(
                [self._pico.tokenizer.token_text(i) for i in context],
                self._pico.engine.attention(context),
            )
        else:
            self._trace.add_row(self._pico.tokenizer.token_text(self._ids[-1]), step.attention)
        self._ids.append(step.id)
        return self._trace

    def end(self) -> None:
        if self._trace is not None:
            self._trace.end()
