"""What the commands share: the parser, the flags, how errors end, how text goes in and out."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from picogpt.errors import ConfigError, PicoGPTError

if TYPE_CHECKING:
    from picogpt.engine import Step
    from picogpt.pico import Pico
    from picogpt.sampling import SamplingConfig

MODEL = "pico-chat"
CHECKPOINTS = "checkpoints"
#: More than anybody waits for; it catches a slip of the finger.
MAX_TOKENS = 1_000_000

# --- flags ------------------------------------------------------------------------------------


class UsageError(PicoGPTError):
    """The command line does not say what to do, or says it wrongly."""


#: What argparse says -> what we say. Groups: the flag, the value, the choices.
_PLAIN = (
    (r"argument (?P<flag>.+): expected (one|at least one) argument",
     "{flag} needs a value, and none follows it. Give one; write --prompt=TEXT for a text that "
     "starts with a dash."),
    (r"argument (?P<flag>.+): invalid choice: '?(?P<value>.*?)'? \(choose from (?P<choices>.+)\)",
     "{flag} is one of {choices}; {value!r} is not. Choose one of these."),
    (r"argument (?P<flag>.+): ignored explicit argument (?P<value>.+)",
     "{flag} takes no value; {value} was given. Leave it out."),
    (r"unrecognized arguments: (?P<value>.+)",
     "There is no flag or argument {value!r} here. {prog} --help lists those there are."),
    (r"the following arguments are required: COMMAND",
     "No command was named. {prog} --help lists them; for example: "
     "{prog} generate -p 'Once upon a time'."),
)  # fmt: skip


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises plain sentences and never guesses abbreviated flags."""

    def __init__(self, **settings: object) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**(settings | {"allow_abbrev": False}))

    def error(self, message: str) -> NoReturn:
        """Raises UsageError with the sentence for argparse's `message`."""
        for pattern, sentence in _PLAIN:
            found = re.fullmatch(pattern, message, re.DOTALL)
            if found:
                groups = found.groupdict()
                if "choices" in groups:
                    groups["choices"] = groups["choices"].replace("'", "")
                raise UsageError(sentence.format(prog=self.prog, **groups))
        raise UsageError(f"{message}. See {self.prog} --help.")


def number(text: str) -> float | str:
    """A number, or the text itself: whoever knows the field's limits then refuses it by name."""
    try:
        return float(text)
    except ValueError:
        return text


def whole(text: str) -> int | float | str:
    """A whole number, or else what `number` makes of it."""
    try:
        return int(text)
    except ValueError:
        return number(text)


def add_model_flags(parser: argparse.ArgumentParser, device: bool = True) -> None:
    """-m, --checkpoints and, where the model runs, -d."""
    parser.add_argument(
        "-m", "--model", default=MODEL, metavar="NAME",
        help=f"a folder under the checkpoints, or a path (default: {MODEL})",
    )  # fmt: skip
    add_checkpoints_flag(parser)
    if device:
        parser.add_argument(
            "-d", "--device", default="auto", help="auto, cpu, cuda or mps (default: auto)"
        )


def add_checkpoints_flag(parser: argparse.ArgumentParser) -> None:
    """--checkpoints."""
    parser.add_argument(
        "--checkpoints", default=CHECKPOINTS, metavar="DIR",
        help=f"where models are looked up by name (default: {CHECKPOINTS})",
    )  # fmt: skip


def add_json_flag(parser: argparse.ArgumentParser, a_line: str) -> None:
    """--json; `a_line` says what one line of it is."""
    parser.add_argument(
        "--json", action="store_true", help=f"print JSON: one object {a_line}, each on its line"
    )


def add_sampling_flags(parser: argparse.ArgumentParser) -> None:
    """How many tokens, and how each is chosen."""
    parser.add_argument(
        "-t", "--max-tokens", type=whole, default=100, metavar="N",
        help="most tokens to generate (default: 100)",
    )  # fmt: skip
    settings = (
        (("-T", "--temperature"), number, 0.8, "0 takes the likeliest token; above 1 is wild"),
        (("-k", "--top-k"), whole, 20, "choose among the K likeliest tokens; 0 for all"),
        (("--top-p",), number, 1.0, "choose among the likeliest that together reach P"),
        (("--min-p",), number, 0.0, "drop tokens below this share of the likeliest's probability"),
        (("--repetition-penalty",), number, 1.0, "weaken tokens already used; 1 is off"),
        (("--seed",), whole, None, "start of the dice, to repeat a text"),
    )
    for names, kind, default, text in settings:
        shown = "new every time" if default is None else f"{default:g}"
        parser.add_argument(
            *names, type=kind, default=default, help=f"{text} (default: {shown})",
            metavar=names[-1].split("-")[-1][0].upper(),
        )  # fmt: skip
    for name, kind in (("--max_tokens", whole), ("--top_k", whole)):  # the original's spelling
        parser.add_argument(name, type=kind, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def sampling_from(args: argparse.Namespace) -> SamplingConfig:
    """The sampling settings of the flags, `max_tokens` checked along with them.

    Raises:
        SamplingError, UsageError: a value that is no number, or outside its range.
    """
    from picogpt.sampling import SamplingConfig

    if not isinstance(args.max_tokens, int) or not 0 <= args.max_tokens <= MAX_TOKENS:
        raise UsageError(
            f"max_tokens is a whole number from 0 to {MAX_TOKENS:,}; {args.max_tokens!r} is not. "
            "Choose one in that range."
        )
    names = [field.name for field in dataclasses.fields(SamplingConfig)]
    return SamplingConfig(**{name: getattr(args, name) for name in names})


def load_pico(args: argparse.Namespace) -> Pico:
    """The model that the flags name.

    Raises:
        CheckpointError, ConfigError: no such model or device, or a damaged folder.
    """
    from picogpt.pico import load

    check_device(args.device)
    return load(args.model, device=args.device, checkpoints=args.checkpoints)


def check_device(device: str) -> None:
    """Raises ConfigError for a device of unknown form or beyond those of this machine."""
    import torch

    found = re.fullmatch(r"auto|cpu|mps|cuda(?::(\d{1,9}))?", device)
    if not found:
        raise ConfigError(f"device is one of auto, cpu, cuda, mps; {device!r} is not.")
    count = torch.cuda.device_count()
    if found[1] and int(found[1]) >= count > 0:
        raise ConfigError(f"device {device!r} is not here: CUDA devices go from 0 to {count - 1}.")


# --- text in and out --------------------------------------------------------------------------


def read_text(value: str, *, drop_newline: bool) -> str:
    """A text from the command line, or standard input for `-`.

    Args:
        value: the text or `-`.
        drop_newline: leave out one newline at the end of standard input, as `echo` adds it.
    """
    from picogpt.tokenizers.base import well_formed

    if value != "-":
        return well_formed(value)
    text = well_formed(sys.stdin.read() if sys.stdin else "")
    return text.removesuffix("\n") if drop_newline else text


def write(text: str) -> None:
    """Put text on stdout at once; on a terminal control characters are shown as U+FFFD."""
    if sys.stdout.isatty():
        text = printable(text)
    sys.stdout.write(text)
    sys.stdout.flush()


def printable(text: str) -> str:
    """`text` without control characters (a model or a file could steer the terminal with them)."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) == "Cc" and c not in "\n\t" else c
        for c in text
    )


def write_json(value: dict) -> None:
    """Put one JSON object on a line of stdout, in ASCII, so that no encoding can spoil it."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Tell the person something on stderr, where no program takes it for a result."""
    sys.stdout.flush()
    print(printable(text), file=sys.stderr, flush=True)


def table(rows: list[tuple[str, ...]], left: int = 1) -> str:
    """Rows in aligned columns: the first `left` to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def bytes_text(count: int) -> str:
    """A number of bytes as a person reads it (1 MB = 1,000,000 bytes)."""
    if count < 1000:
        return f"{count} bytes"
    for unit in ("kB", "MB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:,.1f} GB"


def token_object(step: Step) -> dict:
    """What `--json` prints of one generated token."""
    fields = ("id", "text", "prob", "kept_prob", "rank", "entropy", "u", "seed")
    return {field: getattr(step, field) for field in fields}


# --- how a command ends -----------------------------------------------------------------------


def guarded(run: Callable[[], int]) -> int:
    """Call `run` and turn every way it can end into an exit status.

    Returns:
        What `run` returns; 2 after a PicoGPTError, whose sentence goes to stderr; 130 after
        Ctrl-C; 0 when the reader of a pipe has read enough; 2 when the system refuses to read
        or write, with its reason.
    """
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(io.UnsupportedOperation):  # it was already read from
                stream.reconfigure(errors="replace")  # no text, in or out, is worth a traceback
    try:
        status = run()
        sys.stdout.flush()
        return status
    except PicoGPTError as error:
        say(" ".join(str(error).splitlines()))
        return 2
    except SystemExit as end:  # --help
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            say("")
        return 130
    except BrokenPipeError:
        _forget_stdout()
        return 0
    except OSError as error:  # such as a full disk behind stdout
        _forget_stdout()
        print(f"Reading or writing failed: {error}.", file=sys.stderr)
        return 2


def _forget_stdout() -> None:
    """Point stdout at nothing, so that Python's own flush at exit meets no closed pipe."""
    with contextlib.suppress(io.UnsupportedOperation):  # no real file in a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
