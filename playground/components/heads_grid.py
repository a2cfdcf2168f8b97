"""Heads grid: the attention maps of every layer and head on one canvas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
import numpy as np

from playground.components.assets import mount, pack_u8

RowsSince = Callable[[str, int], "dict | None"]
"""(key, rows the browser has) -> an append payload, or None when there is nothing new."""


def heads_grid(
    elem_id: str, label: str, *, rows_since: RowsSince | None = None, **kwargs: Any
) -> gr.HTML:
    """Layers (rows) by heads (columns) of small attention maps; a click enlarges one.

    Payload (``value``), or None for the empty state; :func:`heads_payload` builds it:
        key: str, names this text; a payload of the same key with ``from`` appends.
        n_layer, n_head: int, at most 12 each.
        n: int, tokens after this payload, at most 256.
        tokens: list of str, the n tokens (or the n - from new ones).
        data: base64 uint8. For t = from..n-1: n_layer * n_head * (t + 1) weights times 255,
            ordered layer, head, key position.
        from: int, optional: the first row in this payload (left out: everything is replaced).
        live: bool, optional: more rows will come; poll ``rows_since`` every 120 ms until a
            payload says False.

    State on ``.pico-widget``: ``data-ready`` (0, 1), ``data-n``, ``data-live`` (0, 1),
    ``data-zoom`` (index layer * n_head + head, or ""), ``data-painted-ms`` (arrival to painted),
    ``data-error`` ("" or why a payload was refused). Buttons ``.heads-button`` carry
    ``data-layer`` and ``data-head``.

    Args:
        elem_id: id of the component on the page.
        label: its name for screen readers.
        rows_since: asked by the browser while ``live``; runs in a worker thread, and sees what
            any visitor sends: ``key`` must be hard to guess where texts are private.
        kwargs: passed to ``gr.HTML``.
    """
    if rows_since is not None:
        kwargs["server_functions"] = [_rows_server(rows_since)]
    scripts = ("heads_data.js", "heads_zoom.js", "heads_grid.js")
    return mount(elem_id, label, scripts, ("heads_grid.css",), **kwargs)


def _rows_server(ask: RowsSince) -> Callable[[Any], dict | None]:
    """The function of one list that Gradio calls, with what the browser sent checked."""

    def rows_since(args: Any) -> dict | None:
        match args:
            case [str(key), int(n)] if n >= 0:
                return ask(key, n)
        return None

    return rows_since


def pack_rows(attention: np.ndarray, start: int = 0) -> str:
    """Causal attention (L, H, T, T) -> the ``data`` of rows start..T-1.

    Args:
        attention: (layers, heads, query, key), weights 0..1; what lies above the diagonal is
            not read.
        start: the first query row to pack.

    Raises:
        ValueError: the array is not (L, H, T, T).
    """
    if attention.ndim != 4 or attention.shape[2] != attention.shape[3]:
        raise ValueError(f"attention: (L, H, T, T) is needed, got {attention.shape}")
    rows = [attention[:, :, t, : t + 1].ravel() for t in range(start, attention.shape[2])]
    return pack_u8(np.concatenate(rows) if rows else np.zeros(0))


def heads_payload(
    key: str,
    tokens: Sequence[str],
    attention: np.ndarray,
    start: int | None = None,
    live: bool = False,
) -> dict:
    """All tokens and (L, H, T, T) attention -> the payload of :func:`heads_grid`.

    Args:
        key: names this text.
        tokens: all T tokens.
        attention: (L, H, T, T), weights 0..1.
        start: None to replace; else the first row to append.
        live: more rows will come.

    Raises:
        ValueError: tokens and attention disagree on T.
    """
    n_layer, n_head, n, _ = attention.shape
    if len(tokens) != n:
        raise ValueError(f"tokens: {n} are needed for this attention, got {len(tokens)}")
    first = start or 0
    payload = {
        "key": key,
        "n_layer": n_layer,
        "n_head": n_head,
        "n": n,
        "tokens": list(tokens[first:]),
        "data": pack_rows(attention, first),
        "live": live,
    }
    return payload if start is None else {**payload, "from": start}
