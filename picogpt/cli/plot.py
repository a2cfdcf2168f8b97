"""The picture of `bench --plot`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from picogpt.cli.common import UsageError

KINDS = (".png", ".svg", ".pdf")


def check_plot(path: str) -> None:
    """See that a picture can be written, before minutes are spent on measuring.

    Raises:
        UsageError: another kind of file, no such folder, or matplotlib is not installed.
    """
    if not path.lower().endswith(KINDS):
        raise UsageError(f"plot is a file ending in {', '.join(KINDS)}; {path!r} does not.")
    if not Path(path).parent.is_dir():
        raise UsageError(f"plot: there is no folder {str(Path(path).parent)!r}. Make it first.")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError(
            "--plot needs matplotlib, which is not installed. Get it with: pip install matplotlib"
        )


def draw(results: list[dict], path: str) -> None:
    """Draw speeds and times to the first token of `results` (see `Subject.result`) into a file.

    Raises:
        UsageError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    speed, first = figure.subplots(1, 2)
    labels = [f"{result['model']}\n{result['device']}" for result in results]
    for shift, key, label in (
        (-0.2, "decode_tokens_per_second", "plain"),
        (0.2, "traced_tokens_per_second", "with attention shown"),
    ):
        places = [place + shift for place in range(len(results))]
        bars = speed.bar(places, [result[key] for result in results], 0.4, label=label)
        speed.bar_label(bars, fmt="{:,.0f}", fontsize=8)
    speed.set_xticks(range(len(results)), labels)
    speed.set(ylabel="tokens a second", title="Generating")
    speed.legend()
    for result, label in zip(results, labels, strict=True):
        points = [(int(n), s * 1000) for n, s in result["prefill_seconds"].items() if s is not None]
        if points:
            first.plot(*zip(*points, strict=True), marker="o", label=label.replace("\n", ", "))
            first.legend()
    first.set(xlabel="tokens in the prompt", ylabel="milliseconds", title="Time to the first token")
    first.set_ylim(bottom=0)
    names = dict.fromkeys(result["device_name"] for result in results)
    figure.suptitle(f"{' and '.join(names)}, {results[0]['threads']} threads")
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise UsageError(f"{path!r} cannot be written: {error.strerror or error}.") from error
