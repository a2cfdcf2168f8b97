"""Token view: a text cut into tokens, side by side for one or two tokenizers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from playground.components.assets import mount


def token_view(elem_id: str, label: str, **kwargs: Any) -> gr.HTML:
    """Coloured chips, one a token, with whitespace visible and ids that can be hidden.

    Payload (``value``), or None for the empty state; :func:`token_column` builds a column:
        columns: list of ``{"title": str, "tokens": [[text, id] or [text, id, bytes]],
            "summary": str}``; ``bytes`` is hex such as "f0 9f", for tokens that are only part
            of a character. At most 2000 tokens a column are drawn, the others are counted.

    A click or Enter on a chip triggers the event ``pick`` with ``{"index", "id", "text",
    "column"}``: ``view.pick(handler)``, where ``handler(event: gr.EventData)`` reads
    ``event.index``, ``event.id``, ``event.column``.

    State on ``.pico-widget``: ``data-ready`` (0, 1), ``data-n`` (tokens of each column, joined
    by commas), ``data-ids`` (0, 1: shown), ``data-painted-ms``. Chips ``.tokens-chip`` carry
    ``data-i``.

    Args:
        elem_id: id of the component on the page.
        label: its name for screen readers.
        kwargs: passed to ``gr.HTML``.
    """
    return mount(elem_id, label, ("token_view.js",), ("token_view.css",), **kwargs)


def token_column(
    title: str,
    pieces: Sequence[bytes | str],
    ids: Sequence[int],
    summary: str | None = None,
) -> dict:
    """One column of :func:`token_view`.

    Args:
        title: such as "BPE (pico-chat)".
        pieces: each token's bytes (or its text), in order.
        ids: each token's id.
        summary: the line beside the title; left out, tokens and characters a token are counted.

    Raises:
        ValueError: pieces and ids differ in length.
    """
    if len(pieces) != len(ids):
        raise ValueError(f"ids: {len(pieces)} are needed, got {len(ids)}")
    raw = [piece.encode("utf-8") if isinstance(piece, str) else bytes(piece) for piece in pieces]
    if summary is None:
        characters = len(b"".join(raw).decode("utf-8", errors="replace"))
        plural = "token" if len(raw) == 1 else "tokens"
        summary = f"{len(raw):,} {plural}"
        if raw:
            mean = f"{characters / len(raw):.3g}"
            summary += f", {mean} {'character' if mean == '1' else 'characters'} a token"
    tokens = [_token(piece, int(i)) for piece, i in zip(raw, ids, strict=True)]
    return {"title": title, "tokens": tokens, "summary": summary}


def _token(piece: bytes, token_id: int) -> list:
    """[text, id], with the bytes in hex added when they are no whole characters."""
    text = piece.decode("utf-8", errors="replace")
    if "\ufffd" in text:
        return [text, token_id, piece.hex(" ")]
    return [text, token_id]
