"""Note: one line of plain text under a control."""

from __future__ import annotations

from typing import Any

import gradio as gr

from playground.components.assets import mount


def note(elem_id: str, label: str, **kwargs: Any) -> gr.HTML:
    """A line that says what is going on or what went wrong; it holds its height when empty.

    Payload (``value``), or None for nothing:
        text: str, shown as plain text; a longer one wraps.
        kind: info, error or busy. An error is read out at once, the others politely.

    State on ``.pico-widget``: ``data-ready`` (0, 1), ``data-kind`` ("" for nothing).

    Args:
        elem_id: id of the component on the page.
        label: its name for screen readers.
        kwargs: passed to ``gr.HTML``.
    """
    return mount(elem_id, label, ("note.js",), ("note.css",), padding=False, **kwargs)
