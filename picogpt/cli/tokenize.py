"""`python -m picogpt tokenize`: how a text is cut into tokens."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from picogpt.cli import common

if TYPE_CHECKING:
    from picogpt.tokenizers import Tokenizer


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser of all commands."""
    parser = commands.add_parser(
        "tokenize",
        help="show the tokens of a text",
        description="Show the tokens of a text: id, text and bytes.",
        epilog="Example: python -m picogpt tokenize 'Hello, world!'",
    )
    parser.add_argument(
        "text", nargs="?", metavar="TEXT",
        help="the text, or - for standard input, every character of it",
    )  # fmt: skip
    parser.add_argument("-p", "--prompt", metavar="TEXT", help="the text, given as a flag")
    common.add_model_flags(parser, device=False)
    common.add_json_flag(parser, "a token")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the tokens as a table or as JSON; only the tokenizer is loaded.

    Raises:
        PicoGPTError: no text or two, no such model, or characters it has never seen.
    """
    from picogpt.pico import find_checkpoint
    from picogpt.tokenizers import load_tokenizer

    if (args.text is None) == (args.prompt is None):
        raise common.UsageError(
            "tokenize takes one text. Give it once: tokenize TEXT, -p TEXT, or - to read "
            "standard input."
        )
    folder = find_checkpoint(args.model, args.checkpoints)
    tokenizer = load_tokenizer(folder)
    given = args.prompt if args.text is None else args.text
    text = common.read_text(given, drop_newline=False)
    ids = tokenizer.encode(text)
    if args.json:
        for id in ids:
            token = {"id": id, "text": tokenizer.token_text(id)}
            common.write_json(token | {"bytes": list(tokenizer.token_bytes(id))})
        return 0
    common.write(_table(ids, text, tokenizer))
    return 0


def _table(ids: list[int], text: str, tokenizer: Tokenizer) -> str:
    """One row a token, then how many tokens and bytes there are."""
    rows = [("id", "text", "bytes")]
    for id in ids:
        rows.append((str(id), repr(tokenizer.token_text(id)), tokenizer.token_bytes(id).hex(" ")))
    id_width = max(len(row[0]) for row in rows)
    text_width = max(len(row[1]) for row in rows)
    lines = [f"{id:>{id_width}}  {shown:<{text_width}}  {data}" for id, shown, data in rows]
    size = len(text.encode("utf-8"))
    tokens = "1 token" if len(ids) == 1 else f"{len(ids):,} tokens"
    total = f"{tokens}, {size:,} bytes"
    if ids:
        total += f", {size / len(ids):.2f} bytes a token"
    return "\n".join([*lines, "", total]) + "\n"
