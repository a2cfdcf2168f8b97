"""`python -m picogpt generate`: continue a text."""

from __future__ import annotations

import argparse
import dataclasses

from picogpt.cli import common


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser of all commands."""
    parser = commands.add_parser(
        "generate",
        help="continue a text",
        description="Continue a text, token by token.",
        epilog="Example: python -m picogpt generate -p 'Once upon a time' -t 50 --seed 1",
    )
    parser.add_argument(
        "-p", "--prompt", default="", metavar="TEXT",
        help="text to continue, or - for standard input (less one newline at its end); "
        "without it the model starts a new text",
    )  # fmt: skip
    common.add_model_flags(parser)
    common.add_sampling_flags(parser)
    common.add_json_flag(parser, "a token")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the prompt and its continuation, or with --json the chosen tokens.

    Raises:
        PicoGPTError: a bad value, model or prompt; nothing is on stdout then.
    """
    sampling = common.sampling_from(args)
    prompt = common.read_text(args.prompt, drop_newline=True)
    pico = common.load_pico(args)
    ids = pico.encode_prompt(prompt)
    block_size = pico.engine.config.block_size
    if len(ids) > block_size:
        common.say(
            f"The prompt has {len(ids):,} tokens and the context holds {block_size:,}: "
            f"the oldest {len(ids) - block_size:,} were dropped."
        )
    steps = pico.stream(prompt, args.max_tokens, **dataclasses.asdict(sampling))
    if args.json:
        for step in steps:
            common.write_json(common.token_object(step))
        return 0
    common.write(prompt)
    last = prompt
    for step in steps:
        common.write(step.text)
        last = step.text or last
    if not last.endswith("\n"):
        common.write("\n")
    return 0
