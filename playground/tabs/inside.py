"""The Look inside tab: where every head of every layer looks."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from picogpt.errors import PicoGPTError
from playground.components import heads_payload, note
from playground.errors import error_note, info_note
from playground.forms import text_form
from playground.services import Services
from playground.shared import Shared

FIRST_TEXT = "The cat sat on the mat because it was warm."
GUIDE = (
    "Every small square is one attention head. A row in it is a token that looks back; bright "
    "spots are the tokens it looks at. Hover to read a weight, click a square to enlarge it. "
    "While a reply is being written in Chat, the maps grow here token by token."
)


@dataclass
class InsideTab:
    """The components of the tab."""

    text: gr.Textbox
    take: gr.Button
    status: gr.HTML


def build_inside(shared: Shared) -> InsideTab:
    """Lay out the tab and connect its events."""
    gr.HTML(f"<p>{GUIDE}</p>", elem_classes="guide")
    with gr.Row(elem_id="inside-form", equal_height=True):
        text = gr.Textbox(
            FIRST_TEXT, elem_id="inside-text", label="Text to read", lines=2, max_lines=6, scale=1
        )
        take = gr.Button("Take the last reply", elem_id="take-reply", scale=0, min_width=168)
    status = note("inside-note", "Notes on the maps")
    shared.heads.render()
    tab = InsideTab(text, take, status)
    look = Looker(shared.services)
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    outputs = [shared.heads, status]
    text.change(  # `input` would miss what is pasted or deleted
        look.read, [text, shared.model], outputs, queue=False, trigger_mode="always_last", **quiet
    )
    # An event of its own: in a tab that was never opened, a handler that leaves an output as it is
    # (as most updates of a reply would leave the maps) makes the page forget what it held.
    shared.trace.change(look.live, [shared.trace], [shared.heads], queue=False, **quiet)
    take.click(look.take, [shared.last_reply, text], [text], queue=False, **quiet)
    return tab


class Looker:
    """Turns a text into attention maps."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def read(self, text: str, model: str) -> tuple[dict | None, dict | None]:
        """The maps of a text, and what a reader should know about them."""
        try:
            pico = self.services.models.get(model)
            ids = pico.encode_prompt(text_form(text))
        except PicoGPTError as error:
            return gr.skip(), error_note(error)
        block = pico.engine.config.block_size
        kept = ids[-block:]
        attention = pico.engine.attention(kept).numpy()
        tokens = [pico.tokenizer.token_text(i) for i in kept]
        cut = (
            f"The text has {len(ids):,} tokens and the context holds {block}: only the newest "
            "part is shown."
        )
        payload = heads_payload(f"{model}:{hash(text)}", tokens, attention)
        return payload, info_note(cut if len(ids) > block else "")

    def live(self, key: str) -> dict | None:
        """The maps of a reply that is being written, as far as it has come."""
        return self.services.traces.rows_since(key, 0)

    def take(self, last: str, text: str) -> str:
        """The last exchange of the Chat tab; the text stays when there is none."""
        return last or text
