"""Run chip: the training that is going on, in the header of every tab."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gradio as gr

from playground.components.assets import mount

RunNow = Callable[[], "dict | None"]
"""() -> the run to show, or None."""

STATES = ("running", "paused", "stopping", "finished", "failed")


def run_chip(elem_id: str, label: str, *, run_now: RunNow, **kwargs: Any) -> gr.HTML:
    """A small button that says how a training goes: "training basic, 42%, loss 1.84".

    The browser asks ``run_now`` every 2 s, every 1 s while a run is running, paused or stopping,
    and only while the page is visible. It answers with None (the chip and its block are hidden
    and hold no space) or:
        name: str, the run. preset: str. state: running, paused, stopping, finished or failed.
        percent: 0 to 100. loss: float or None.

    A click triggers the event ``open`` with ``{"name"}``: ``chip.open(handler)``. A change of
    state is read out politely; percent and loss are not. The value (payload) is not used.

    State on ``.pico-widget``: ``data-ready`` (1 after the first answer), ``data-state`` (a state,
    or "" for none), ``data-percent``, ``data-run``.

    Args:
        elem_id: id of the component on the page.
        label: its name for screen readers.
        run_now: runs in a worker thread, for any visitor.
        kwargs: passed to ``gr.HTML``.
    """
    kwargs["server_functions"] = [_run_server(run_now)]
    return mount(elem_id, label, ("run_chip.js",), ("run_chip.css",), **kwargs)


def _run_server(ask: RunNow) -> Callable[[Any], dict | None]:
    """The function that Gradio calls: what the browser sent is not read, the answer is plain."""

    def run_now(_args: Any = None) -> dict | None:
        run = ask()
        if run is None or run["state"] not in STATES:
            return None
        loss = run.get("loss")
        return {
            "name": str(run["name"]),
            "preset": str(run["preset"]),
            "state": run["state"],
            "percent": round(min(100.0, max(0.0, float(run["percent"]))), 1),
            "loss": float(f"{loss:.4g}") if loss is not None and math.isfinite(loss) else None,
        }

    return run_now
