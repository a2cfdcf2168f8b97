"""`python -m trainers bench`: how fast training runs here, and what the recipe is worth.

What is compared takes turns (A B A B ...), so that a machine that slows down slows all of it;
every speed is a median. What is measured stands in `measure.py` (speed) and `race.py` (time to a
loss).
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
from pathlib import Path

import torch

from picogpt.checkpoint import choose_device
from picogpt.cli import common, plot
from picogpt.cli.hardware import device_name
from trainers import measure
from trainers.corpus import CORPORA, find_corpus
from trainers.estimate import estimate
from trainers.fit import fit
from trainers.plot import draw
from trainers.presets import PRESETS, preset
from trainers.race import Finish, plain_config, run_ours, run_plain

DESCRIPTION = f"""\
Measure training on this machine:
  race    a plain recipe (AdamW, cosine; for small: nanoGPT's for a CPU) runs to its end, then our
          preset until the whole validation text scores the same: seconds from the start of the
          process to its end, and tokens
  speed   tokens a second of whole training steps on random ids ({measure.ROUNDS} timed rounds),
          as a share of what matrix products alone reach just then ("of peak"), Muon's share of
          the time, and the estimates of `list` against what was measured; with --device both, the
          CPU against the GPU"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser of all commands."""
    parser = commands.add_parser(
        "bench", help="measure training speed and the recipe", description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "--race", default="small", metavar="PRESET",
        help="the preset that races the plain recipe, or none (default: small)",
    )  # fmt: skip
    parser.add_argument(
        "--presets", default=",".join(PRESETS), metavar="A,B",
        help="whose speed is measured, or none (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--corpus", default="stories", metavar="TEXT",
        help="a corpus by name, or a text file, for the race (default: stories)",
    )  # fmt: skip
    parser.add_argument(
        "--corpora", default=str(CORPORA), metavar="DIR", help="where texts are looked up by name"
    )
    parser.add_argument(
        "--seeds", type=common.whole, default=1, metavar="N", help="races (default: 1)"
    )
    parser.add_argument(
        "--steps", type=common.whole, default=0, metavar="N",
        help="steps of the plain recipe (default: 2,000 for small, else the preset's)",
    )  # fmt: skip
    parser.add_argument(
        "--device", default="auto", metavar="D",
        help="auto, cpu, cuda, mps, or both: the CPU and the GPU",
    )  # fmt: skip
    parser.add_argument(
        "--vs", choices=[measure.RIVAL], help="time this library's GPT-2 too, where it is installed"
    )
    parser.add_argument("--plot", metavar="FILE", help="draw the race: .png, .svg or .pdf")
    common.add_json_flag(parser, "a result")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, then print tables or JSON.

    Raises:
        PicoGPTError: a bad value, no such preset or corpus, or a run of the race failed.
    """
    names = [n.strip() for n in args.presets.split(",") if n.strip() not in ("", "none")]
    _check(args, names)
    devices = _devices(args.device)
    if not args.json:
        for device in devices:
            common.write(f"{device_name(str(device))}, {torch.get_num_threads()} CPU threads\n")
        common.write("\n")
    if args.race != "none":
        _show_race(args, str(devices[0]))
    if names:
        _show_speeds(list(dict.fromkeys(names)), devices, args)
    return 0


def _check(args: argparse.Namespace, names: list[str]) -> None:
    """Refuse what cannot be measured before anything is."""
    if not isinstance(args.seeds, int) or not 1 <= args.seeds <= 100:
        raise common.UsageError(
            f"seeds is a whole number from 1 to 100; {args.seeds!r} is not. Choose one."
        )
    for name in (*names, *([] if args.race == "none" else [args.race])):
        preset(name)
    if args.race != "none":
        plain_config(args.race, args.corpus, 1, "cpu", args.steps)  # its steps are in range
        if preset(args.race).corpus != args.corpus:
            find_corpus(args.corpus, args.corpora)
    if args.vs and importlib.util.find_spec(args.vs) is None:
        raise common.UsageError(f"{args.vs} is not installed. Get it with: pip install {args.vs}")
    if args.plot is not None:
        if args.race == "none":
            raise common.UsageError("--plot draws the race, and there is none. Leave one out.")
        plot.check_plot(args.plot)


def _devices(wanted: str) -> list[torch.device]:
    if wanted != "both":
        common.check_device(wanted)
        return [choose_device(wanted)]
    gpu = choose_device("auto")
    if gpu.type == "cpu":
        raise common.UsageError("There is no GPU here to compare with. Use --device cpu.")
    return [torch.device("cpu"), gpu]


# --- race -------------------------------------------------------------------------------------


def _show_race(args: argparse.Namespace, device: str) -> None:
    corpora, finishes = Path(args.corpora), []
    for seed in range(1, args.seeds + 1):
        plain = plain_config(args.race, args.corpus, seed, device, args.steps)
        common.say(f"Racing {args.race} on {args.corpus}, seed {seed}: the plain recipe ...")
        finishes.append(run_plain(plain, corpora))
        target = finishes[-1].val_loss
        common.say(f"It ended at {target:.4f} nats a token; ours, to the same ...")
        ours = preset(
            args.race, corpus=args.corpus, seed=seed, device=device, eval_block=plain.block_size
        )
        finishes.append(run_ours(ours, target, corpora))
        if args.json:
            for finish in finishes[-2:]:
                common.write_json(_race_facts(finish, args))
    if not args.json:
        common.write(f"{args.race} on {args.corpus}\n" + _race_table(finishes) + "\n")
    if args.plot is not None:
        draw(finishes, f"{args.race} on {Path(args.corpus).stem}", args.plot)
        common.say(f"The picture is in {args.plot}.")


def _race_facts(finish: Finish, args: argparse.Namespace) -> dict:
    return {
        "result": "race", "preset": args.race, "corpus": args.corpus, "recipe": finish.recipe,
        "seed": finish.seed, "seconds": finish.seconds, "steps": finish.steps,
        "tokens": finish.tokens, "val_loss": finish.val_loss, "target": finish.target,
        "reached": finish.reached, "curve": finish.curve,
    }  # fmt: skip


def _race_table(finishes: list[Finish]) -> str:
    """A row a seed, then mean and spread."""
    rows = [("seed", "plain", "tokens", "loss", "ours", "tokens", "loss", "time", "")]
    pairs = list(zip(finishes[::2], finishes[1::2], strict=True))
    for plain, ours in pairs:
        rows.append((
            str(plain.seed), f"{plain.seconds:.1f} s", f"{plain.tokens:,}",
            f"{plain.val_loss:.4f}", f"{ours.seconds:.1f} s", f"{ours.tokens:,}",
            f"{ours.val_loss:.4f}", f"1/{plain.seconds / ours.seconds:.1f}",
            "" if ours.reached else "not reached",
        ))  # fmt: skip
    for name, of in (("mean", statistics.mean), ("spread", _spread)):
        columns = [
            (of([f.seconds for f in side]), of([f.tokens for f in side]), of(
                [f.val_loss for f in side])) for side in zip(*pairs, strict=True)
        ]  # fmt: skip
        cells = [c for s, t, v in columns for c in (f"{s:.1f} s", f"{t:,.0f}", f"{v:.4f}")]
        ratio = of([plain.seconds / ours.seconds for plain, ours in pairs])
        rows.append((name, *cells, f"1/{ratio:.1f}" if name == "mean" else f"{ratio:.1f}", ""))
    return common.table(rows)


def _spread(values: list[float]) -> float:
    """From the lowest to the highest."""
    return max(values) - min(values)


# --- speed ------------------------------------------------------------------------------------


def _show_speeds(names: list[str], devices: list[torch.device], args: argparse.Namespace) -> None:
    columns = ("preset", "dtype", "device", "tokens/s", "of peak", "Muon", "step", "estimated",
               "memory", "estimated")  # fmt: skip
    rows = [columns]
    for name in names:
        for device in devices:
            common.say(f"Timing {name} on {device} ...")
            for facts in speeds(name, device, bool(args.vs)):
                if args.json:
                    common.write_json(facts)
                rows.append(_speed_row(facts))
    if not args.json:
        common.write(common.table(rows, left=3))


def _speed_row(facts: dict) -> tuple[str, ...]:
    def text(key: str, form: str) -> str:
        return "-" if facts[key] is None else format(facts[key], form)

    def size(key: str) -> str:
        return "-" if facts[key] is None else common.bytes_text(facts[key])

    return (
        facts["preset"], facts["dtype"], facts["device"], f"{facts['tokens_per_second']:,.0f}",
        f"{facts['share_of_peak']:.0%}", text("muon_share", ".0%"),
        f"{facts['step_seconds']:.3f} s", text("estimated_step_seconds", ".3f"),
        size("memory_bytes"), size("estimated_memory_bytes"),
    )  # fmt: skip


def speeds(name: str, device: torch.device, rival: bool = False) -> list[dict]:
    """What was measured of a preset in each dtype, beside what was estimated.

    Args:
        name: of the preset.
        device: where.
        rival: measure the other library's step of the same shape and batch too.
    """
    configs = {
        dtype: fit(preset(name, dtype=dtype, device=str(device), short_block=0))[0]
        for dtype in measure.DTYPES
    }
    results = []
    for dtype, timing in measure.time_steps(configs, rival=rival).items():
        config = configs.get(dtype, configs["float32"])
        ours, seconds = dtype in configs, statistics.median(timing.steps)
        cost = estimate(config)
        flops = cost.flops / config.steps
        shares = [flops / s / peak for s, peak in zip(timing.steps, timing.peak, strict=True)]
        muon = [part / whole for part, whole in zip(timing.muon, timing.steps, strict=ours)]
        results.append({
            "result": "speed", "preset": name, "dtype": dtype, "device": str(device),
            "threads": torch.get_num_threads(), "parameters": cost.parameters,
            "tokens_per_second": config.tokens_per_step / seconds,
            "spread": max(timing.steps) / min(timing.steps),
            "peak_flops_per_second": statistics.median(timing.peak),
            "share_of_peak": statistics.median(shares),
            "muon_share": statistics.median(muon) if ours else None,
            "step_seconds": seconds,
            "estimated_step_seconds": cost.seconds / config.steps if ours else None,
            "memory_bytes": measure.memory(config) if ours else None,
            "estimated_memory_bytes": cost.memory if ours else None,
        })  # fmt: skip
    return results
