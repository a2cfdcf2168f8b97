"""`python -m picogpt COMMAND`: the model in a terminal.

Heavy modules are imported by the commands when they run, so that `--help` costs little.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from picogpt.cli import bench, chat, common, generate, info, tokenize

COMMANDS = (chat, generate, info, tokenize, bench)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = common.Parser(
        prog="python -m picogpt",
        description="Talk to a small GPT, look at it and measure it.",
        epilog="python -m picogpt COMMAND --help tells more about a command.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS:
        module.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        argv: the arguments; those of the process when None.

    Returns:
        0, 2 after a user's mistake (one sentence on stderr), 130 after Ctrl-C.
    """

    def run() -> int:
        args = build_parser().parse_args(argv)
        return args.run(args)

    return common.guarded(run)


if __name__ == "__main__":
    sys.exit(main())
