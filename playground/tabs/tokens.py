"""The Tokens tab: how a text falls into tokens, characters against byte-pair encoding."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from picogpt.errors import PicoGPTError, TokenizerError
from picogpt.tokenizers import CharTokenizer, Tokenizer, load_tokenizer
from playground.components import note, token_column, token_view
from playground.errors import error_note, info_note
from playground.forms import text_form
from playground.services import Services
from playground.shared import Shared

FIRST_TEXT = "Hello, Pico! 3,141 tiny octopuses sang an unforgettable song 🐙"
GUIDE = (
    "A model reads tokens, not letters. A character tokenizer takes every character by itself; "
    "byte-pair encoding (BPE) joins what often stands together, so common words are one token "
    "and rare ones fall into pieces. The number under a token is its id."
)


@dataclass
class TokensTab:
    """The components of the tab."""

    text: gr.Textbox
    view: gr.HTML
    status: gr.HTML


def build_tokens(shared: Shared) -> TokensTab:
    """Lay out the tab and connect its events."""
    gr.HTML(f"<p>{GUIDE}</p>", elem_classes="guide")
    text = gr.Textbox(FIRST_TEXT, elem_id="tokens-text", label="Text", lines=2, max_lines=8)
    status = note("tokens-note", "Notes on the tokens")
    view = token_view("tokens-view", "Tokens of the text")
    split = Splitter(shared.services)
    text.change(  # `input` would miss what is pasted or deleted
        split.columns, [text, shared.model], [view, status], queue=False,
        trigger_mode="always_last", show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    return TokensTab(text, view, status)


class Splitter:
    """Cuts a text with the chosen model's tokenizer and with one of the other kind."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def columns(self, text: str, model: str) -> tuple[dict | None, dict | None]:
        """Both columns of the view, and what a reader should know."""
        try:
            text = text_form(text)
            chosen = self.services.models.get(model).tokenizer
        except PicoGPTError as error:
            return gr.skip(), error_note(error)
        pairs = [(model, chosen), self._other(text, chosen)]
        pairs.sort(key=lambda pair: pair[1].kind)  # BPE stands left
        problems, columns = [], []
        for name, tokenizer in pairs:
            try:
                ids = tokenizer.encode(text)
            except TokenizerError as error:
                problems.append(f"{name}: {error}")
                continue
            kind = "BPE" if tokenizer.kind == "bpe" else "Characters"
            title = f"{kind} ({name})"
            columns.append(token_column(title, [tokenizer.token_bytes(i) for i in ids], ids))
        return {"columns": columns}, info_note(" ".join(problems))

    def _other(self, text: str, chosen: Tokenizer) -> tuple[str, Tokenizer]:
        """A tokenizer of the other kind: BPE of some model, or this text's own characters."""
        models = self.services.models
        for name in models.names() if chosen.kind != "bpe" else ():
            try:
                tokenizer = load_tokenizer(models.checkpoints / name)  # without the weights
            except PicoGPTError:
                continue  # a broken model is shown as such in the Models tab
            if tokenizer.kind == "bpe":
                return name, tokenizer
        return "this text", CharTokenizer.train(text or " ")
