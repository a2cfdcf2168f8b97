"""Loss curve: train and validation loss of a run, drawn as it grows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gradio as gr

from playground.components.assets import mount

LossSince = Callable[[str, int, int], "dict | None"]
"""(run, train points known, validation points known) -> what is new, or None (unknown run)."""


def loss_curve(
    elem_id: str, label: str, *, loss_since: LossSince | None = None, **kwargs: Any
) -> gr.HTML:
    """Train loss (raw pale, smoothed thin) and validation loss (dots and line) over steps.

    Payload (``value``), or None for the empty state; :func:`loss_payload` builds it:
        run: str, names the run.
        points: ``{"step": [int], "train": [float or None], "val": [[step, loss or None]]}``.
        state: running, paused, stopping, finished, failed or recorded.
        total: int, steps planned, 0 when not known.
        unit: str, such as "nats/token".
        baselines: list of ``{"label": str, "value": float}``, drawn as dashed lines.

    While ``state`` is running, paused or stopping the browser asks ``loss_since`` every 400 ms
    (only when it is on screen) and appends ``{"step", "train", "val", "state", "total",
    "baselines"}``; every key may be left out. A change of state triggers the event ``state``
    with ``{"run", "state"}``: ``curve.state(handler)``.

    State on ``.pico-widget``: ``data-ready`` (0, 1), ``data-n`` and ``data-n-val`` (points),
    ``data-state``, ``data-run``, ``data-painted-ms``, ``data-cursor`` (step under the crosshair).

    Args:
        elem_id: id of the component on the page.
        label: its name for screen readers.
        loss_since: runs in a worker thread, and sees what any visitor sends.
        kwargs: passed to ``gr.HTML``.
    """
    if loss_since is not None:
        kwargs["server_functions"] = [_loss_server(loss_since)]
    return mount(elem_id, label, ("loss_data.js", "loss_curve.js"), ("loss_curve.css",), **kwargs)


def _loss_server(ask: LossSince) -> Callable[[Any], dict | None]:
    """The function of one list that Gradio calls, with what the browser sent checked."""

    def loss_since(args: Any) -> dict | None:
        match args:
            case [str(run), int(n), int(n_val)] if n >= 0 and n_val >= 0:
                return ask(run, n, n_val)
        return None

    return loss_since


def finite(value: float | None) -> float | None:
    """The number, rounded to six places, or None for NaN and infinities (JSON has neither)."""
    return round(float(value), 6) if value is not None and math.isfinite(value) else None


def loss_points(
    steps: Sequence[int], train: Sequence[float | None], val: Iterable[tuple[int, float | None]]
) -> dict:
    """Numbers of a run -> the ``points`` of the payload, also what ``loss_since`` returns.

    Raises:
        ValueError: steps and train differ in length.
    """
    if len(steps) != len(train):
        raise ValueError(f"train: {len(steps)} losses are needed, got {len(train)}")
    return {
        "step": [int(step) for step in steps],
        "train": [finite(loss) for loss in train],
        "val": [[int(step), finite(loss)] for step, loss in val],
    }


def loss_payload(
    run: str,
    points: dict,
    *,
    state: str = "recorded",
    total: int = 0,
    unit: str = "nats/token",
    baselines: dict[str, float] | None = None,
) -> dict:
    """The payload of :func:`loss_curve`; ``points`` come from :func:`loss_points`."""
    lines = [{"label": name, "value": finite(value)} for name, value in (baselines or {}).items()]
    return {
        "run": run,
        "points": points,
        "state": state,
        "total": total,
        "unit": unit,
        "baselines": [line for line in lines if line["value"] is not None],
    }
