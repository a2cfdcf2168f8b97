"""Loads the .js and .css files that sit beside this module and mounts them as ``gr.HTML``.

``common.js`` and ``common.css`` go in front of every widget's own files. Gradio evaluates
``css_template`` as a template, so :func:`style` refuses the characters that would be evaluated.
"""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

HERE = Path(__file__).parent
TEMPLATE = '<div class="pico-widget"></div>'
"""The whole HTML of every widget: constant, so that no text is ever evaluated or injected."""


@cache
def read_asset(name: str) -> str:
    """The text of one ``.js`` or ``.css`` file of this folder."""
    path = HERE / name
    if path.parent != HERE or path.suffix not in {".js", ".css"}:
        raise ValueError(f"{name!r} is not a .js or .css file of {HERE}")
    return path.read_text(encoding="utf-8")


def script(*names: str) -> str:
    """``common.js`` followed by the named files, one function body for ``js_on_load``."""
    return "\n".join(read_asset(name) for name in ("common.js", *names))


def style(*names: str) -> str:
    """``common.css`` followed by the named files, for ``css_template``.

    Raises:
        ValueError: a file holds a backslash, a backtick, ``${`` or ``{{``, which Gradio evaluates.
    """
    text = "\n".join(read_asset(name) for name in ("common.css", *names))
    for mark in ("\\", "`", "${", "{{", "@keyframes"):
        if mark in text:
            raise ValueError(f"{mark!r} cannot stand in a widget's CSS: Gradio evaluates it")
    return text


def mount(
    elem_id: str, label: str, scripts: tuple[str, ...], styles: tuple[str, ...], **kwargs: Any
) -> gr.HTML:
    """A ``gr.HTML`` that runs ``scripts`` under ``styles``; ``kwargs`` go to ``gr.HTML``."""
    return gr.HTML(
        elem_id=elem_id,
        label=label,
        html_template=TEMPLATE,
        css_template=style(*styles),
        js_on_load=script(*scripts),
        apply_default_css=False,
        **kwargs,
    )


def pack_u8(array: np.ndarray) -> str:
    """Weights 0..1 of any shape -> base64 of uint8 0..255, in C order; NaN counts as 0."""
    scaled = np.nan_to_num(np.asarray(array, dtype=np.float32), nan=0.0) * 255.0
    return _base64(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


def pack_f32(array: np.ndarray) -> str:
    """Numbers of any shape -> base64 of little-endian float32, in C order."""
    return _base64(np.asarray(array).astype("<f4"))


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
