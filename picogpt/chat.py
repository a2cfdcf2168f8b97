"""Conversations: turns to token ids and back.

A conversation is `<|user|>` text `<|end|>` `<|assistant|>` text `<|end|>` and so on; the
marks are special ids, never text: what a person types cannot become one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from picogpt.engine import Engine, Step
from picogpt.errors import ConfigError, PromptError
from picogpt.sampling import SamplingConfig
from picogpt.text import with_text
from picogpt.tokenizers import Tokenizer

USER, ASSISTANT, END, END_OF_TEXT = "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"
SPECIAL_TOKENS = (USER, ASSISTANT, END, END_OF_TEXT)


@dataclass(frozen=True)
class Turn:
    """One message."""

    role: str
    """`user` or `assistant`."""
    text: str


@dataclass(frozen=True)
class Rendered:
    """A conversation as ids, ready for the model to answer."""

    ids: list[int]
    dropped_turns: int
    """Oldest turns left out because the context is too small for them."""
    cut_tokens: int
    """Tokens cut from the start of the newest message, when it alone is too long."""


def can_render(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer has the special tokens that conversations need."""
    return all(name in tokenizer.special_tokens for name in (USER, ASSISTANT, END))


def turn_ids(turn: Turn, tokenizer: Tokenizer) -> list[int]:
    """Ids of one turn, its marks included."""
    special = tokenizer.special_tokens
    mark = USER if turn.role == "user" else ASSISTANT
    return [special[mark], *tokenizer.encode(turn.text), special[END]]


def render(
    turns: Sequence[Turn], tokenizer: Tokenizer, block_size: int, reserve: int = 64
) -> Rendered:
    """Ids of a conversation that ends with the assistant's mark.

    As many of the newest turns as fit stay, whole; the newest always stays, cut at its start if
    it must be.

    Args:
        turns: oldest first; the last one is the user's.
        tokenizer: one with the conversation's special tokens.
        block_size: the model's context, in tokens.
        reserve: tokens to leave free for the answer (at most half of the context is).

    Raises:
        ConfigError: the tokenizer has no conversation tokens.
        PromptError: there is no turn to answer.
    """
    if not can_render(tokenizer):
        raise ConfigError(
            "This model was not trained on conversations: its tokenizer lacks the tokens for "
            "turns. Use it to complete text instead."
        )
    if not turns or turns[-1].role != "user":
        raise PromptError("There is no message to answer. Add one from the user.")
    room = block_size - min(reserve, block_size // 2) - 1
    pieces = [turn_ids(turn, tokenizer) for turn in turns]
    kept, used = 0, 0
    for piece in reversed(pieces):
        if kept and used + len(piece) > room:
            break
        kept, used = kept + 1, used + len(piece)
    while kept > 1 and turns[len(turns) - kept].role != "user":
        kept -= 1  # a conversation starts with the user, in training as here
    pieces = pieces[len(pieces) - kept :]
    cut = max(0, len(pieces[0]) - room) if kept == 1 else 0
    if cut:
        pieces[0] = pieces[0][:1] + pieces[0][1 + cut :]
    ids = [i for piece in pieces for i in piece]
    return Rendered([*ids, tokenizer.special_tokens[ASSISTANT]], len(turns) - kept, cut)


def stop_ids(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Ids that end a reply or a text."""
    special = tokenizer.special_tokens
    return tuple(special[name] for name in (END, END_OF_TEXT, USER) if name in special)


class ChatSession:
    """A conversation that keeps its context.

    Args:
        engine: the model.
        tokenizer: its tokenizer.
        sampling: how to choose tokens.
        max_new_tokens: most tokens of a reply.

    Raises:
        ConfigError: the model was not made for conversations.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        sampling: SamplingConfig | None = None,
        max_new_tokens: int = 100,
    ) -> None:
        if not can_render(tokenizer):
            render([Turn("user", "")], tokenizer, 2)
        self.engine, self.tokenizer = engine, tokenizer
        self.sampling = sampling or SamplingConfig()
        self.max_new_tokens = max_new_tokens
        self.turns: list[Turn] = []

    def stream(self, message: str, stop: threading.Event | None = None) -> Iterator[Step]:
        """Answer `message` step by step; both turns are kept once the stream ends or is closed.

        Raises:
            PromptError: the message is empty.
        """
        check_message(message)
        turns = [*self.turns, Turn("user", message)]
        rendered = render(turns, self.tokenizer, self.engine.config.block_size, self.max_new_tokens)
        steps = self.engine.stream(
            rendered.ids, self.sampling, self.max_new_tokens, stop_ids(self.tokenizer), stop
        )
        return self._keep(turns, with_text(steps, self.tokenizer))

    def _keep(self, turns: list[Turn], steps: Iterator[Step]) -> Iterator[Step]:
        text = ""
        try:
            for step in steps:
                text += step.text
                yield step
        finally:
            self.turns = [*turns, Turn("assistant", text)]

    def reply(self, message: str) -> str:
        """The whole answer to `message`.

        Raises:
            PromptError: the message is empty.
        """
        return "".join(step.text for step in self.stream(message))

    def undo(self) -> str | None:
        """Take back the last exchange; returns the user's message, or None when there is none."""
        if len(self.turns) < 2:
            return None
        message = self.turns[-2].text
        del self.turns[-2:]
        return message

    def reset(self) -> None:
        """Forget the conversation."""
        self.turns.clear()


def check_message(message: str) -> None:
    """Raises PromptError when there is nothing in a message to answer."""
    if not message.strip():
        raise PromptError("The message is empty. Type at least one character.")
