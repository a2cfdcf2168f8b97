"""`python -m trainers bench`: how fast training runs here, and what the recipe is worth.

What is compared takes turns (A B A B ...), so that a machine that slows down slows all of it;
every speed is a median. What is measured stands in `measure.py`.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from pathlib import Path

import torch

from picogpt.checkpoint import choose_device
from picogpt.cli import common
from picogpt.cli.hardware import device_name
from trainers import measure
from trainers.corpus import CORPORA
from trainers.estimate import estimate
from trainers.presets import PRESETS, preset
from trainers.sources import load_corpus

DESCRIPTION = f"""\
Measure training on this machine:
  speed   tokens a second of whole training steps on random ids ({measure.ROUNDS} timed rounds),
          as a share of what matrix products alone reach just then ("of peak"), Muon's share of
          the time, and the estimates of `list` against what was measured
  recipe  our recipe against a plain one (AdamW, cosine) of the same shape and tokens on a text:
          validation loss in nats a token"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser of all commands."""
    parser = commands.add_parser(
        "bench", help="measure training speed and the recipe", description=DESCRIPTION
    )
    parser.add_argument(
        "--presets", default=",".join(PRESETS), metavar="A,B", help="whose speed (default: all)"
    )
    parser.add_argument(
        "--recipe", default="small", metavar="PRESET",
        help="the preset whose recipe is compared, or none (default: small)",
    )  # fmt: skip
    parser.add_argument(
        "--corpus", default="stories", metavar="TEXT",
        help="a corpus by name, or a text file, for the recipes (default: stories)",
    )  # fmt: skip
    parser.add_argument(
        "--corpora", default=str(CORPORA), metavar="DIR", help="where texts are looked up by name"
    )
    parser.add_argument(
        "--seeds", type=common.whole, default=1, metavar="N", help="runs a recipe (default: 1)"
    )
    parser.add_argument(
        "--steps", type=common.whole, default=200, metavar="N", help="steps a run (default: 200)"
    )
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda or mps")
    common.add_json_flag(parser, "a result")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, then print tables or JSON.

    Raises:
        PicoGPTError: a bad value, or no such preset or corpus.
    """
    if not isinstance(args.seeds, int) or not 1 <= args.seeds <= 100:
        raise common.UsageError(
            f"seeds is a whole number from 1 to 100; {args.seeds!r} is not. Choose one."
        )
    names = list(dict.fromkeys(n.strip() for n in args.presets.split(",") if n.strip()))
    for name in names:
        preset(name)
    common.check_device(args.device)
    device = choose_device(args.device)
    if not args.json:
        common.write(f"{device_name(str(device))}, {torch.get_num_threads()} CPU threads\n\n")
    if names:
        _show_speeds(names, device, args.json)
    if args.recipe != "none":
        _show_recipes(args)
    return 0


# --- speed ------------------------------------------------------------------------------------


def _show_speeds(names: list[str], device: torch.device, json: bool) -> None:
    columns = ("preset", "dtype", "tokens/s", "of peak", "Muon", "step", "estimated", "memory",
               "estimated")  # fmt: skip
    rows = [columns]
    for name in names:
        common.say(f"Timing {name} ...")
        for facts in speeds(name, device):
            if json:
                common.write_json(facts)
            rows.append(_speed_row(facts))
    if not json:
        common.write(common.table(rows, left=2) + "\n")


def _speed_row(facts: dict) -> tuple[str, ...]:
    memory = facts["memory_bytes"]
    return (
        facts["preset"], facts["dtype"], f"{facts['tokens_per_second']:,.0f}",
        f"{facts['share_of_peak']:.0%}", f"{facts['muon_share']:.0%}",
        f"{facts['step_seconds']:.3f} s", f"{facts['estimated_step_seconds']:.3f} s",
        "-" if memory is None else common.bytes_text(memory),
        common.bytes_text(facts["estimated_memory_bytes"]),
    )  # fmt: skip


def speeds(name: str, device: torch.device) -> list[dict]:
    """What was measured of a preset in each dtype, beside what was estimated.

    Args:
        name: of the preset.
        device: where.
    """
    configs = {dtype: preset(name, dtype=dtype, device=str(device)) for dtype in measure.DTYPES}
    results = []
    for dtype, timing in measure.time_steps(configs).items():
        config, seconds = configs[dtype], statistics.median(timing.steps)
        cost = estimate(config)
        flops = cost.flops / config.steps
        shares = [flops / s / peak for s, peak in zip(timing.steps, timing.peak, strict=True)]
        muon = [part / whole for part, whole in zip(timing.muon, timing.steps, strict=True)]
        results.append({
            "result": "speed", "preset": name, "dtype": dtype, "device": str(device),
            "threads": torch.get_num_threads(), "parameters": cost.parameters,
            "tokens_per_second": config.tokens_per_step / seconds,
            "spread": max(timing.steps) / min(timing.steps),
            "peak_flops_per_second": statistics.median(timing.peak),
            "share_of_peak": statistics.median(shares),
            "muon_share": statistics.median(muon),
            "step_seconds": seconds,
            "estimated_step_seconds": cost.seconds / config.steps,
            "memory_bytes": measure.memory(config),
            "estimated_memory_bytes": cost.memory,
        })  # fmt: skip
    return results


# --- recipe -----------------------------------------------------------------------------------


def _show_recipes(args: argparse.Namespace) -> None:
    config = preset(
        args.recipe, corpus=args.corpus, steps=args.steps, sample_every=0, eval_tokens=0,
        eval_every=args.steps, device=args.device,
    )  # fmt: skip
    corpus = load_corpus(config, Path(args.corpora))
    losses: dict[str, list[float]] = {"ours": [], "plain": []}
    for seed in range(1, args.seeds + 1):
        for recipe, train in (("ours", measure.train_ours), ("plain", measure.train_plain)):
            common.say(f"Training {args.recipe} on {corpus.name}, {recipe}, seed {seed} ...")
            outcome = train(dataclasses.replace(config, seed=seed), corpus)
            losses[recipe].append(outcome.val_loss)
            if args.json:
                common.write_json({
                    "result": "recipe", "preset": args.recipe, "corpus": corpus.name,
                    "recipe": recipe, "seed": seed, "steps": config.steps,
                    "tokens": config.steps * config.tokens_per_step,
                    "val_loss": outcome.val_loss, "bits_per_byte": outcome.bits_per_byte,
                    "seconds": outcome.seconds,
                })  # fmt: skip
    if args.json:
        return
    rows = [("recipe", "validation loss", "seeds")]
    rows += [
        (recipe, f"{statistics.mean(values):.4f}", " ".join(f"{v:.4f}" for v in values))
        for recipe, values in losses.items()
    ]
    tokens = config.steps * config.tokens_per_step
    common.write(
        f"{args.recipe} on {corpus.name}, {config.steps:,} steps, {tokens:,} tokens each:\n"
        + common.table(rows)
    )
