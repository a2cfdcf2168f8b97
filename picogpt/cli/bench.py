"""`python -m picogpt bench`: how fast models run here, and how much memory they take."""

from __future__ import annotations

import argparse

from picogpt.cli import common, measure, plot

DESCRIPTION = f"""\
Measure models, all taking turns; every figure is a median:
  first token  milliseconds from a prompt of {", ".join(map(str, measure.PROMPTS))} tokens to the \
first token ({measure.PREFILL_ROUNDS} runs)
  tokens/s     speed of {measure.DECODE_TOKENS} tokens after the first, top-k {measure.TOP_K} \
({measure.DECODE_ROUNDS} runs)
  traced       the same while attention is recorded at every step
  resident     memory of a fresh process with this one model, PyTorch included"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser of all commands."""
    parser = commands.add_parser(
        "bench",
        help="measure speed and memory",
        description=DESCRIPTION,
        epilog="Example: python -m picogpt bench --sizes small,basic --device both",
    )
    parser.add_argument(
        "models", nargs="*", metavar="MODEL",
        help="folders under the checkpoints, or paths (default: all under the checkpoints)",
    )  # fmt: skip
    parser.add_argument(
        "-m", "--model", action="append", default=[], metavar="NAME", help="one more MODEL"
    )
    parser.add_argument(
        "--sizes", metavar="A,B",
        help="random weights of these named sizes instead of checkpoints "
        f"(vocabulary {measure.SIZE_VOCAB:,})",
    )  # fmt: skip
    parser.add_argument(
        "-d", "--device", default="auto",
        help="auto, cpu, cuda, mps, or both for CPU against CUDA (default: auto)",
    )  # fmt: skip
    common.add_checkpoints_flag(parser)
    parser.add_argument("--plot", metavar="FILE", help="draw a picture too: .png, .svg or .pdf")
    common.add_json_flag(parser, "a model and device")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, then print a table or JSON.

    Raises:
        PicoGPTError: a bad value, no such model, or nothing to measure.
    """
    if args.plot is not None:
        plot.check_plot(args.plot)
    sources = _sources(args)
    devices = _devices(args.device)
    subjects = [
        measure.Subject(source, device, source.engine(device))
        for source in sources
        for device in devices
    ]
    common.say(f"Measuring {', '.join(source.name for source in sources)} ...")
    measure.measure(subjects)
    for subject in subjects:
        subject.memory = measure.measure_memory(subject.source, subject.device)
    results = [subject.result() for subject in subjects]
    worst = max(result["spread"] for result in results)
    if worst > measure.NOISY:
        common.say(
            f"Equal runs differed by up to x {worst:.1f}: something else is using this machine. "
            "Compare with care, or measure again when it is quiet."
        )
    if args.json:
        for result in results:
            common.write_json(result)
    else:
        common.write(_report(results))
    if args.plot is not None:
        plot.draw(results, args.plot)
        common.say(f"The picture is in {args.plot}.")
    return 0


def _sources(args: argparse.Namespace) -> list[measure.Source]:
    """The models to measure, each checked to exist."""
    from picogpt.config import named_config
    from picogpt.pico import find_checkpoint, list_checkpoints

    names = list(dict.fromkeys([*args.models, *args.model]))
    if args.sizes is not None:
        if names:
            raise common.UsageError("bench measures models or sizes. Leave out one of the two.")
        sizes = list(dict.fromkeys(name.strip() for name in args.sizes.split(",")))
        for size in sizes:
            named_config(size, measure.SIZE_VOCAB)
        return [measure.Source(size) for size in sizes]
    names = names or list_checkpoints(args.checkpoints)
    if not names:
        raise common.UsageError(
            f"There is no model under {args.checkpoints!r} to measure. "
            "Name sizes to measure random weights: --sizes small,basic."
        )
    folders = [find_checkpoint(name, args.checkpoints) for name in names]
    return [measure.Source(folder.name, str(folder)) for folder in folders]


def _devices(device: str) -> list[str]:
    """The devices to measure on; of `both` only the CPU where there is no CUDA."""
    import torch

    from picogpt.checkpoint import choose_device

    if device == "both":
        if torch.cuda.is_available():
            return ["cpu", "cuda"]
        common.say("There is no CUDA device on this machine, so only the CPU is shown.")
        return ["cpu"]
    common.check_device(device)
    return [str(choose_device(device))]


def _report(results: list[dict]) -> str:
    """The table of all results, and where CPU and CUDA were measured how they compare."""
    names = dict.fromkeys((result["device"], result["device_name"]) for result in results)
    text = "".join(f"{device}: {name}\n" for device, name in names)
    text += f"CPU threads: {results[0]['threads']}\n\n"
    first = [f"first token, {length}" for length in measure.PROMPTS]
    rows = [("model", "device", "parameters", *first, "tokens/s", "traced", "resident")]
    for result in results:
        times = [
            "-" if seconds is None else f"{1000 * seconds:.1f} ms"
            for seconds in result["prefill_seconds"].values()
        ]
        speeds = [f"{result[f'{kind}_tokens_per_second']:,.0f}" for kind in ("decode", "traced")]
        memory = result["resident_bytes"]
        resident = "-" if memory is None else common.bytes_text(memory)
        count = f"{result['parameters']:,}"
        rows.append((result["model"], result["device"], count, *times, *speeds, resident))
    text += common.table(rows, left=2)
    before = [r["resident_before_bytes"] for r in results if r["resident_before_bytes"]]
    if before:
        text += f"\nOf the resident memory Python and PyTorch take {common.bytes_text(min(before))}"
        text += " before a model is loaded.\n"
    return text + _comparison(results)


def _comparison(results: list[dict]) -> str:
    """How many times as fast CUDA is, for each model measured on both; "" if none was."""
    by_device: dict[str, dict[str, dict]] = {}
    for result in results:
        by_device.setdefault(result["model"], {})[result["device"]] = result
    first = [f"first token, {length}" for length in measure.PROMPTS]
    rows = [("CUDA against CPU", *first, "tokens/s", "traced")]
    for model, found in by_device.items():
        if not {"cpu", "cuda"} <= found.keys():
            continue
        cpu, cuda = found["cpu"], found["cuda"]
        ratios = [
            "-" if seconds is None else f"x {seconds / cuda['prefill_seconds'][length]:.2f}"
            for length, seconds in cpu["prefill_seconds"].items()
        ]
        for kind in ("decode", "traced"):
            key = f"{kind}_tokens_per_second"
            ratios.append(f"x {cuda[key] / cpu[key]:.2f}")
        rows.append((model, *ratios))
    if len(rows) == 1:
        return ""
    return "\n" + common.table(rows) + "x 2.00 means that CUDA was twice as fast.\n"
