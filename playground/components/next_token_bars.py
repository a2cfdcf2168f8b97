"""Next-token bars: the likeliest next tokens, before and after the sampling filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
import numpy as np

from playground.components.assets import mount, pack_f32, read_asset

MAX_LOGITS = 8192
MAX_TOKENS = 40


def next_token_bars(elem_id: str, label: str, **kwargs: Any) -> gr.HTML:
    """The likeliest 12 next tokens as bars that follow ``window.picoSampling`` by themselves.

    Each row has a pale outline (probability at temperature 1, no filters) and a filled bar
    (after temperature, top-k, top-p, min-p, renormalised). Nothing goes to the server when a
    setting moves: any script of the page calls
    ``window.picoSampling.set({temperature, top_k, top_p, min_p})`` and every bars widget repaints
    in the next frame. ``top_k`` 0, ``top_p`` 1 and ``min_p`` 0 are off; ``temperature`` 0 gives
    the top token everything.

    Payload (``value``), or None for the empty state; :func:`bars_payload` builds it:
        tokens: list of str, the text of the likeliest 40 tokens, logits falling.
        logits: base64 float32 (little-endian) of all logits, falling, at most 8192.
        rest: ``{"n": int, "lse": float}``, how many logits were not sent and the log of the sum
            of their exponentials; n is 0 when none.
        note: str, a short line shown below ("" for none).

    State on ``.pico-widget``: ``data-ready`` (0, 1), ``data-n`` (logits), ``data-kept`` (tokens
    that survive the filters), ``data-paint-ms`` (from ``set()`` or arrival to painted),
    ``data-paints`` (count). Each ``.bars-row`` has ``data-cut`` ("", "top-k", "top-p", "min-p",
    "temperature 0").

    Args:
        elem_id: id of the component on the page.
        label: its name for screen readers.
        kwargs: passed to ``gr.HTML`` (``value``, ``visible``, ``min_height``...).
    """
    scripts = ("sampling_math.js", "sampling_store.js", "next_token_bars.js")
    return mount(elem_id, label, scripts, ("next_token_bars.css",), **kwargs)


def sampling_js() -> str:
    """The script that makes ``window.picoSampling`` before any widget is on the page.

    For ``launch(head=f"<script>{sampling_js()}</script>")``; the bars also make it when missing.
    """
    return read_asset("sampling_store.js")


def bars_payload(logits: np.ndarray, text_of: Callable[[int], str], note: str = "") -> dict:
    """One row of logits (V,) -> the payload of :func:`next_token_bars`.

    Args:
        logits: (V,) finite or -inf, before temperature. Ties keep the lower id first.
        text_of: token id -> its text.
        note: a short line shown below the bars.

    Raises:
        ValueError: the logits are not one row, or hold NaN.
    """
    row = np.asarray(logits, dtype=np.float64)
    if row.ndim != 1 or row.size == 0 or np.isnan(row).any():
        raise ValueError(f"logits: one row of numbers without NaN is needed, got {row.shape}")
    order = np.argsort(-row, kind="stable")
    falling = row[order]
    rest = falling[MAX_LOGITS:]
    top = float(rest.max()) if rest.size else 0.0
    lse = top + float(np.log(np.exp(rest - top).sum())) if rest.size and np.isfinite(top) else 0.0
    return {
        "tokens": [text_of(int(i)) for i in order[:MAX_TOKENS]],
        "logits": pack_f32(falling[:MAX_LOGITS]),
        "rest": {"n": int(rest.size) if np.isfinite(top) else 0, "lse": lse},
        "note": note,
    }
