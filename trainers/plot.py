"""The picture of `bench --plot`: loss against time, ours and the plain recipe's."""

from __future__ import annotations

from collections.abc import Sequence

from picogpt.cli.common import UsageError
from trainers.race import Finish

COLOURS = {"plain": "#8a8f98", "ours": "#4f46e5"}


def draw(finishes: Sequence[Finish], title: str, path: str) -> None:
    """Draw the curves of a race into a file, a line a run; a dot is where ours stopped.

    Raises:
        UsageError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    named = set()
    for finish in finishes:
        seconds, losses = zip(*finish.curve, strict=True)
        label = None if finish.recipe in named else {"plain": "plain recipe"}.get(
            finish.recipe, finish.recipe)  # fmt: skip
        named.add(finish.recipe)
        colour = COLOURS[finish.recipe]
        axes.plot(seconds, losses, color=colour, label=label, linewidth=1.6)
        axes.plot(seconds[-1], losses[-1], "o", color=colour)
    targets = [f.target for f in finishes if f.target is not None]
    axes.axhline(sum(targets) / len(targets), color="#8a8f98", linewidth=0.8, linestyle=":")
    axes.set(xlabel="seconds of training", ylabel="validation loss, nats a token", title=title)
    axes.set_xlim(left=0)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise UsageError(f"{path!r} cannot be written: {error.strerror or error}.") from error
