"""`python -m picogpt chat`: a conversation, or one message answered.

stdout holds replies only; everything else that is said goes to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from picogpt.cli import common
from picogpt.errors import PicoGPTError

if TYPE_CHECKING:
    from picogpt.engine import Step
    from picogpt.pico import Pico
    from picogpt.sampling import SamplingConfig

HELP = "/reset forgets the conversation, /quit (or Ctrl-D) leaves, /help shows this."


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser of all commands."""
    parser = commands.add_parser(
        "chat",
        help="talk to a model",
        description="Talk to a model, one message a line.\n" + HELP,
        epilog="Example: python -m picogpt chat -p 'Hello!' -T 0",
    )
    parser.add_argument(
        "-p", "--prompt", metavar="TEXT",
        help="answer this one message (- for all of standard input) and exit",
    )  # fmt: skip
    common.add_model_flags(parser)
    common.add_sampling_flags(parser)
    common.add_json_flag(parser, "a reply")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Answer one message, or every line until the end of standard input.

    Raises:
        PicoGPTError: a bad value or model, or a message given by -p that cannot be answered.
    """
    from picogpt.chat import check_message

    sampling = common.sampling_from(args)
    message = None
    if args.prompt is not None:
        message = common.read_text(args.prompt, drop_newline=True)
        check_message(message)
    pico = common.load_pico(args)
    talk = Conversation(pico, sampling, args.max_tokens, args.json)
    if not talk.session:
        common.say(f"{pico.name} was not made for chat, so it continues your text instead.")
    if message is not None:
        talk.answer(message)
        return 0
    return _converse(talk)


def _converse(talk: Conversation) -> int:
    """Answer line after line; returns 2 if one of a pipe's lines could not be answered."""
    terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    if terminal:
        common.say(f"Talking to {talk.pico.name}. {HELP}")
    failed = False
    for line in _lines(terminal):
        command = line.strip()
        if command == "/quit":
            break
        if command == "/reset":
            talk.reset()
            common.say("The conversation starts anew.")
        elif command == "/help":
            common.say(HELP)
        elif re.fullmatch(r"/\w+", command):
            common.say(f"There is no command {command}. {HELP}")
        elif command:
            try:
                talk.answer(line, f"{talk.pico.name}> " if terminal else "")
            except PicoGPTError as error:  # such as a character the model has never seen
                common.say(str(error))
                failed = True
    return 2 if failed and not terminal else 0


def _lines(terminal: bool) -> Iterator[str]:
    """Lines without their newline, asked for with a prompt on a terminal."""
    from picogpt.tokenizers.base import well_formed

    if not terminal:
        for line in sys.stdin or ():
            yield well_formed(line.rstrip("\n"))
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # lets input() edit the line and recall earlier ones
    while True:
        try:
            line = input("you> ")
        except EOFError:
            common.write("\n")
            return
        yield well_formed(line)


class Conversation:
    """Messages in, replies on stdout.

    Args:
        pico: the model; one that was not made for chat continues each message as a text.
        sampling: how to choose tokens.
        max_tokens: most tokens of a reply.
        as_json: print one object a reply instead of text.
    """

    def __init__(
        self, pico: Pico, sampling: SamplingConfig, max_tokens: int, as_json: bool = False
    ) -> None:
        from picogpt.chat import ChatSession

        self.pico, self.sampling = pico, sampling
        self.max_tokens, self.as_json = max_tokens, as_json
        self.session: ChatSession | None = None
        if pico.checkpoint.can_chat:
            self.session = ChatSession(pico.engine, pico.tokenizer, sampling, max_tokens)

    def reset(self) -> None:
        """Forget what was said."""
        if self.session:
            self.session.reset()

    def answer(self, message: str, label: str = "") -> None:
        """Stream the reply to stdout, `label` before it and a newline after it.

        Raises:
            PicoGPTError: the message cannot be answered; nothing was printed.
        """
        self._tell_what_is_cut(message)
        steps = self._stream(message)
        if self.as_json:
            seen = list(steps)
            common.write_json(
                {
                    "message": message,
                    "reply": "".join(step.text for step in seen),
                    "tokens": len(seen),
                    "seed": seen[0].seed if seen else self.sampling.seed,
                }
            )
            return
        common.write(label if self.session else label + message)
        for step in steps:
            common.write(step.text)
        common.write("\n")

    def _stream(self, message: str) -> Iterator[Step]:
        if self.session:
            return self.session.stream(message)
        settings = dataclasses.asdict(self.sampling)
        return self.pico.stream(message, self.max_tokens, **settings)

    def _tell_what_is_cut(self, message: str) -> None:
        """Say how many tokens at the start of `message` the model will not see."""
        from picogpt.chat import Turn, render

        block_size = self.pico.engine.config.block_size
        if self.session:
            turns = [*self.session.turns, Turn("user", message)]
            cut = render(turns, self.pico.tokenizer, block_size, self.max_tokens).cut_tokens
        else:
            cut = len(self.pico.encode_prompt(message)) - block_size
        if cut > 0:
            common.say(
                f"The message is too long for the context of {block_size:,} tokens: "
                f"its first {cut:,} were dropped."
            )
