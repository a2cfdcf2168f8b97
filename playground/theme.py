"""One theme of our own, and the page-wide styles and scripts that go to `launch`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import gradio as gr

from playground.components import sampling_js

STATIC = Path(__file__).parent / "static"
SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Ubuntu", "sans-serif")
MONO_FONTS = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def theme() -> gr.themes.Base:
    """Slate surfaces, one indigo accent, system fonts; the rest stands in `static/page.css`."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.indigo,
        secondary_hue=gr.themes.colors.slate,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_md,
        text_size=gr.themes.sizes.text_md,
        font=list(SYSTEM_FONTS),
        font_mono=list(MONO_FONTS),
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="1px",
        block_shadow="none",
        block_label_text_size="13px",
        block_title_text_size="13px",
        block_info_text_size="13px",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
        button_large_text_size="14px",
        button_large_text_weight="600",
        button_small_text_size="13px",
        slider_color="*primary_600",
        slider_color_dark="*primary_400",
        input_background_fill="white",
        input_background_fill_dark="*neutral_800",
    )


@cache
def head() -> str:
    """What stands in the page's head: its styles, and scripts that must exist before any widget.

    The styles go here and not to `css_paths`, because Gradio rewrites those so that rules inside
    `@media` no longer reach the body.
    """
    style = (STATIC / "page.css").read_text(encoding="utf-8")
    scripts = (sampling_js(), (STATIC / "page.js").read_text(encoding="utf-8"))
    return f"<style>{style}</style>" + "".join(f"<script>{s}</script>" for s in scripts)
