"""The flags of `python -m trainers`, and its commands: a preset, `list`, `resume` and `bench`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from picogpt.cli import common
from picogpt.errors import RunError
from trainers import bench, show
from trainers.config import MOST_STEPS, TrainConfig
from trainers.corpus import CORPORA, list_corpora
from trainers.estimate import estimate
from trainers.fit import fit
from trainers.presets import PRESETS, preset
from trainers.registry import RunRegistry
from trainers.sources import corpus_names

_KINDS = {f.name: type(f.default) for f in dataclasses.fields(TrainConfig)}
#: Flags with a field of the same name: flag -> what to read, placeholder, help.
_FIELD_FLAGS = {
    "--corpus": (str, "TEXT", "a corpus by name (see list), or a text file (up to 2 GB)"),
    "--out": (str, "NAME", "name of the checkpoint folder"),
    "--steps": (common.whole, "N", "optimizer steps"),
    "--seconds": (
        common.number, "S", "train for this many seconds, or fewer when --steps says so"),
    "--target-val-loss": (
        common.number, "X", "stop when the whole validation text scores this, in nats a token"),
    "--eval-block": (common.whole, "N", "tokens a block when scoring"),
    "--device": (str, "D", "auto, cpu, cuda or mps"),
    "--seed": (common.whole, "N", "decides weights, batches, dropout and samples"),
}  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = common.Parser(
        prog="python -m trainers",
        description="Train a small GPT on a text.",
        epilog="Example: python -m trainers small --corpus my.txt --out mine",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, chosen in PRESETS.items():
        command = commands.add_parser(name, help=f"train: {chosen.purpose}")
        _add_train_flags(command, chosen.config)
    _add_list(commands)
    _add_resume(commands)
    bench.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        argv: the arguments; those of the process when None.

    Returns:
        0, 2 after a user's mistake or a failed run (one sentence on stderr), 130 after Ctrl-C.
    """

    def run() -> int:
        args = build_parser().parse_args(argv)
        if args.command is None:
            raise common.UsageError(
                f"Nothing to do was named. Give a preset ({', '.join(PRESETS)}) or list, resume, "
                "bench; for example: python -m trainers small"
            )
        return args.run(args)

    return common.guarded(run)


# --- training ---------------------------------------------------------------------------------


def _add_train_flags(parser: argparse.ArgumentParser, config: TrainConfig) -> None:
    for flag, (kind, placeholder, text) in _FIELD_FLAGS.items():
        default = getattr(config, flag[2:].replace("-", "_"))
        parser.add_argument(
            flag, type=kind, default=argparse.SUPPRESS, metavar=placeholder,
            help=f"{text} (default: {default or 'none'})",
        )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE",
        help="change any other field of TrainConfig, such as dropout=0.1; may be repeated",
    )  # fmt: skip
    _add_run_flags(parser)
    parser.set_defaults(run=_train)


def _add_run_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--samples", action="store_true", help="print what the model writes")
    common.add_json_flag(parser, "a report, and one at the end")
    common.add_checkpoints_flag(parser)
    _add_corpora_flag(parser)


def _add_corpora_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--corpora", default=str(CORPORA), metavar="DIR",
        help=f"where texts are looked up by name (default: {CORPORA})",
    )  # fmt: skip


def config_from(args: argparse.Namespace) -> TrainConfig:
    """The config that the flags of a preset describe.

    Raises:
        ConfigError, UsageError: an unknown field, or a value outside its range.
    """
    named = {flag[2:].replace("-", "_") for flag in _FIELD_FLAGS}
    changes = {name: value for name, value in vars(args).items() if name in named}
    changes |= _settings(args.set, changes)
    if changes.get("seconds") and "steps" not in changes:
        changes["steps"] = MOST_STEPS  # time alone decides
    return preset(args.command, **changes)


def _settings(pairs: Sequence[str], flags: dict) -> dict:
    """`--set field=value` as values of the fields' types."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name not in _KINDS or name == "preset":
            names = ", ".join(sorted(set(_KINDS) - {"preset"}))
            raise common.UsageError(f"--set takes FIELD=VALUE, not {pair!r}. Fields: {names}.")
        if name in flags or name in found:
            raise common.UsageError(f"{name} is given twice. Leave one out.")
        read = {int: common.whole, float: common.number, str: str}[_KINDS[name]]
        found[name] = read(value)
    return found


def _train(args: argparse.Namespace) -> int:
    """Raises PicoGPTError: a bad value, no such corpus, or the run failed."""
    config = config_from(args)
    common.check_device(config.device)
    run = RunRegistry(args.checkpoints, args.corpora).start(config)
    return show.follow(run, json=args.json, samples=args.samples)


def _add_resume(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("resume", help="go on with a run that was stopped")
    parser.add_argument("name", metavar="NAME", help="the checkpoint folder")
    for flag in ("--steps", "--seconds"):
        kind, placeholder, text = _FIELD_FLAGS[flag]
        parser.add_argument(
            flag, type=kind, metavar=placeholder, default=argparse.SUPPRESS,
            help=f"{text}, counted from the run's start",
        )  # fmt: skip
    _add_run_flags(parser)
    parser.set_defaults(run=_resume)


def _resume(args: argparse.Namespace) -> int:
    """Raises PicoGPTError: no such run, nothing left to do, or the run failed."""
    changes = {name: vars(args)[name] for name in ("steps", "seconds") if name in args}
    run = RunRegistry(args.checkpoints, args.corpora).resume(args.name, **changes)
    return show.follow(run, json=args.json, samples=args.samples)


# --- list -------------------------------------------------------------------------------------


def _add_list(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "list", help="show the presets, what they cost on this machine, and the corpora"
    )
    _add_corpora_flag(parser)
    common.add_json_flag(parser, "a preset or corpus")
    parser.set_defaults(run=_list)


def _list(args: argparse.Namespace) -> int:
    presets = [_preset_facts(name) for name in PRESETS]
    files = list_corpora(args.corpora)
    corpora = [
        {"corpus": name, "bytes": files[name].stat().st_size if name in files else None}
        for name in corpus_names(Path(args.corpora))
    ]
    if args.json:
        for facts in presets + corpora:
            common.write_json(facts)
        return 0
    rows = [("preset", "corpus", "tokenizer", "layers/heads/width/context", "parameters",
             "steps", "memory", "time here")]  # fmt: skip
    for facts in presets:
        shape = "/".join(str(facts[name]) for name in ("n_layer", "n_head", "n_embd", "block_size"))
        rows.append((
            facts["preset"], facts["corpus"], facts["tokenizer"], shape,
            f"{facts['parameters']:,}", f"{facts['steps']:,}",
            common.bytes_text(facts["memory_bytes"]), show.duration(facts["seconds"]),
        ))  # fmt: skip
    common.write(common.table(rows, left=3) + "\nMemory and time are estimates.\n\n")
    rows = [("corpus", "size")]
    for facts in corpora:
        size = "drawn anew" if facts["bytes"] is None else common.bytes_text(facts["bytes"])
        rows.append((facts["corpus"], size))
    common.write(common.table(rows) if corpora else f"There is no corpus in {args.corpora}.\n")
    return 0


def _preset_facts(name: str) -> dict:
    """What `list` shows of a preset; memory in bytes, time in seconds on this machine."""
    config = PRESETS[name].config
    with contextlib.suppress(RunError):  # what does not fit is listed as it is
        config, _ = fit(config)
    cost = estimate(config)
    shape = ("corpus", "tokenizer", "n_layer", "n_head", "n_embd", "block_size", "steps")
    return {"preset": name, "purpose": PRESETS[name].purpose} | {
        field: getattr(config, field) for field in shape
    } | {
        "parameters": cost.parameters, "tokens": cost.tokens, "memory_bytes": cost.memory,
        "seconds": round(cost.seconds, 1),
    }  # fmt: skip
