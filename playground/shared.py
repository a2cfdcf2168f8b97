"""Components that more than one tab needs: made once, placed by the tab they belong to."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from playground.components import heads_grid
from playground.forms import DEFAULTS, MAX_NEW_TOKENS, TEMPERATURE_MAX
from playground.services import Services

#: The key under which the browser hides what it stores; it protects nothing on a shared machine.
_STORE = {"secret": "pico-gpt-playground"}


@dataclass
class Settings:
    """The sampling controls, in the order in which handlers take them."""

    temperature: gr.Slider
    top_k: gr.Slider
    top_p: gr.Slider
    min_p: gr.Slider
    repetition_penalty: gr.Slider
    max_new_tokens: gr.Slider
    seed: gr.Textbox

    def all(self) -> list[gr.components.Component]:
        """The controls as handler inputs."""
        return list(vars(self).values())


@dataclass
class Shared:
    """What the tabs have in common."""

    services: Services
    model: gr.Dropdown
    """The chosen model, in the header."""
    settings: Settings
    stored_settings: gr.BrowserState
    """`{"controls": [...]}`: model, mode and every sampling control."""
    stored_chat: gr.BrowserState
    """`{"messages": [...]}`: the conversation."""
    stored_text: gr.BrowserState
    """`{"text": "..."}`: the text being completed."""
    last_reply: gr.State
    """What was read and written last, as text, for the Look inside tab."""
    trace: gr.State
    """Key of the stream whose attention was recorded last."""
    heads: gr.HTML
    """The attention grid; a streaming reply feeds it."""


def make_shared(services: Services) -> Shared:
    """Make the shared components without placing them."""
    infos = services.models.infos()
    choices = [(info.label, info.name) for info in infos]
    names = [info.name for info in infos]
    model = gr.Dropdown(
        choices, value=services.model if services.model in names else None, label="Model",
        elem_id="model", show_label=False, container=False, render=False, filterable=False,
        min_width=260, interactive=True,
    )  # fmt: skip
    return Shared(
        services, model, make_settings(),
        gr.BrowserState({}, storage_key="pico-settings", **_STORE, render=False),
        gr.BrowserState({}, storage_key="pico-conversation", **_STORE, render=False),
        gr.BrowserState({}, storage_key="pico-text", **_STORE, render=False),
        gr.State(""),
        gr.State(""),
        heads_grid(
            "heads", "Attention heads", rows_since=services.traces.rows_since, render=False
        ),
    )  # fmt: skip


def make_settings() -> Settings:
    """The sampling controls, unplaced."""

    def slider(name: str, label: str, low: float, high: float, step: float, info: str) -> gr.Slider:
        return gr.Slider(
            low, high, value=DEFAULTS[name], step=step, label=label, info=info, render=False,
            elem_id=name.replace("_", "-"), elem_classes="setting",
        )  # fmt: skip

    return Settings(
        slider("temperature", "Temperature", 0, TEMPERATURE_MAX, 0.05,
               "How adventurous the dice are. 0 always takes the likeliest word."),
        slider("top_k", "Top-k", 0, 200, 1,
               "Only this many of the likeliest tokens may be chosen. 0 allows all."),
        slider("top_p", "Top-p", 0.01, 1, 0.01,
               "Only the likeliest tokens that together reach this probability. 1 allows all."),
        slider("min_p", "Min-p", 0, 1, 0.01,
               "Drops tokens below this share of the likeliest one's probability. 0 is off."),
        slider("repetition_penalty", "Repetition penalty", 1, 2, 0.05,
               "Makes tokens that were already used less likely. 1 is off."),
        slider("max_new_tokens", "Max tokens", 1, MAX_NEW_TOKENS, 1,
               "The longest reply, in tokens. A token is about four letters."),
        gr.Textbox(
            label="Seed", info="Starts the dice: the same number gives the same reply. "
            "Empty rolls new dice each time.", placeholder="new each time", max_lines=1,
            render=False, elem_id="seed", elem_classes="setting",
        ),
    )  # fmt: skip
