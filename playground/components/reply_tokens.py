"""Reply tokens: the last reply token by token, and the panel "Why this word?"."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import gradio as gr

from playground.components.assets import mount

if TYPE_CHECKING:
    from picogpt.engine import Step

MAX_ALTERNATIVES = 10


def reply_tokens(elem_id: str, label: str, **kwargs: Any) -> gr.HTML:
    """The tokens of a reply as chips, shaded by surprise; a click opens "Why this word?".

    Payload (``value``), or None for the empty state; :func:`reply_payload` builds it:
        key: str, names this reply. A payload of the same key with more tokens appends; any
            other closes the panel.
        model: str; seed: int; settings: str such as "temperature 0.8, top-k 20"; prompt_note:
            str, what a reader should know about the context ("" for nothing).
        tokens: list of ``{"text": str, "id": int, "prob": float, "kept": float, "rank": int,
            "entropy": float, "u": float or None, "alts": [[text, prob, kept], ...],
            "chosen": int}``. ``prob`` is before and ``kept`` after the filters, ``rank`` 0 is
            the likeliest, ``entropy`` is in bits, ``u`` the number drawn. ``alts`` are the
            likeliest, best first, at most 10; ``chosen`` is the token's place among them or -1
            (left out: found by its text and probability). At most 2000 tokens are drawn, the
            others are counted.

    Keys: arrows, Home, End move along the chips, Enter opens; ``[`` and ``]`` step from token to
    token anywhere on the page while no field has the focus and the strip is on screen; Esc closes.

    The panel is a manual popover inside the widget: it lies in the browser's top layer, so no
    container can clip it, it takes this widget's own styles (nothing for the page to load), and it
    leaves with the widget. While it is open ``document.body`` carries ``data-why="open"``, for a
    page that wants to make room.

    State on ``.pico-widget``: ``data-ready`` (0, 1), ``data-n`` (tokens), ``data-key``,
    ``data-open`` (index, or ""). Chips ``.reply-chip`` carry ``data-i``; ``.why-dice`` carries
    ``data-u`` (the number, or "").

    Args:
        elem_id: id of the component on the page.
        label: its name for screen readers.
        kwargs: passed to ``gr.HTML``.
    """
    scripts = ("why_math.js", "why_view.js", "reply_tokens.js")
    styles = ("reply_tokens.css", "next_token_bars.css", "why_view.css")
    return mount(elem_id, label, scripts, styles, **kwargs)


def reply_payload(
    key: str,
    model: str,
    seed: int,
    settings: str,
    steps: Iterable[Step],
    token_text: Callable[[int], str],
    prompt_note: str = "",
) -> dict:
    """Steps of the engine -> the payload of :func:`reply_tokens`.

    Args:
        key: names this reply.
        model: its name.
        seed: of the dice.
        settings: in words, such as "temperature 0.8, top-k 20".
        steps: what ``Engine.stream`` yielded, in order.
        token_text: token id -> its text.
        prompt_note: what a reader should know about the context.
    """
    return {
        "key": key,
        "model": model,
        "seed": int(seed),
        "settings": settings,
        "prompt_note": prompt_note,
        "tokens": [_token(step, token_text) for step in steps],
    }


def _token(step: Step, token_text: Callable[[int], str]) -> dict:
    listed = step.alternatives[:MAX_ALTERNATIVES]
    ids = [other.id for other in listed]
    return {
        "text": token_text(step.id),
        "id": int(step.id),
        "prob": _number(step.prob),
        "kept": _number(step.kept_prob),
        "rank": int(step.rank),
        "entropy": _number(step.entropy),
        "u": None if step.u is None else _number(step.u),
        "alts": [[token_text(o.id), _number(o.prob), _number(o.kept_prob)] for o in listed],
        "chosen": ids.index(step.id) if step.id in ids else -1,
    }


def _number(value: float) -> float:
    """Six significant digits; 0 for NaN and infinities (JSON has neither)."""
    return float(f"{value:.6g}") if math.isfinite(value) else 0.0
