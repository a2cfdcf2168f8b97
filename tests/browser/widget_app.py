"""A tiny app that mounts every widget with made-up data, for test_widgets.py and for looking at."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
import numpy as np

from playground.components import (
    bars_payload,
    heads_grid,
    heads_payload,
    loss_curve,
    loss_payload,
    loss_points,
    next_token_bars,
    sampling_js,
    token_column,
    token_view,
)

WORDS = ["The", " cat", " sat", " on", " the", " mat", ".", "\n", "<b>hi</b>", " ${1+1}", " {{x}}"]


def made_attention(layers: int, heads: int, n: int, seed: int = 0) -> np.ndarray:
    """Causal rows that sum to 1, (layers, heads, n, n), each head with a habit of its own."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(layers, heads, n, n)) * 1.5
    for head in range(heads):
        for t in range(n):
            scores[:, head, t, max(0, t - head)] += 3
    scores[..., 0] += 1.5
    scores = np.where(np.tril(np.ones((n, n), bool)), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def made_tokens(n: int) -> list[str]:
    """n token texts, with markup and template marks among them."""
    return [WORDS[i % len(WORDS)] for i in range(n)]


@dataclass
class LiveText:
    """A text that grows by a row at each ask, up to n rows."""

    n: int = 16
    attention: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.attention = made_attention(2, 3, self.n, seed=5)

    def first(self) -> dict:
        return heads_payload("live", made_tokens(4), self.attention[:, :, :4, :4], live=True)

    def rows_since(self, key: str, known: int) -> dict | None:
        if key != "live" or known >= self.n:
            return None
        n = known + 1
        rows = self.attention[:, :, :n, :n]
        return heads_payload(key, made_tokens(n), rows, start=known, live=n < self.n)


@dataclass
class LiveRun:
    """A run that gains 50 points at each ask and finishes at total steps."""

    total: int = 500
    asked: int = 0

    def points(self, start: int, stop: int) -> dict:
        steps = list(range(start + 1, stop + 1))
        noise = np.random.default_rng(start).normal(size=len(steps)) * 0.15
        train = [1.5 + 6 * np.exp(-s / 120) + e for s, e in zip(steps, noise, strict=True)]
        val = [(s, 1.7 + 6 * np.exp(-s / 120)) for s in steps if s % 50 == 0]
        return loss_points(steps, train, val)

    def first(self) -> dict:
        lines = {"uniform": 6.9, "unigram": 6.1, "bigram": 3.4}
        return loss_payload(
            "run-1", self.points(0, 100), state="running", total=self.total, baselines=lines
        )

    def loss_since(self, run: str, n: int, n_val: int) -> dict | None:
        self.asked += 1
        if run != "run-1":
            return None
        stop = min(self.total, n + 50)
        return {
            **self.points(n, stop),
            "state": "finished" if stop == self.total else "running",
            "total": self.total,
        }


def made_logits(size: int = 1000) -> np.ndarray:
    """Logits whose first 12 fall by 0.5 each and whose others are far below."""
    logits = np.full(size, -20.0)
    logits[:12] = 5 - 0.5 * np.arange(12)
    return logits


def _token_text(i: int) -> str:
    return made_tokens(12)[i] if i < 12 else f"t{i}"


def _columns() -> dict:
    text = "Hello, world: 1234 caf\u00e9 \U0001f600\nsecond  line\tend " + " ".join(WORDS)
    pieces = [text[i : i + 3] for i in range(0, len(text), 3)]
    emoji = [b"\xf0\x9f", b"\x98\x80"]
    return {
        "columns": [
            token_column("BPE (pico-chat)", pieces + emoji, range(len(pieces) + 2)),
            token_column("Characters", list(text), [ord(char) for char in text]),
        ]
    }


def _picked(event: gr.EventData) -> str:
    return f"{event.column}:{event.index}:{event.id}"


def _state(event: gr.EventData) -> str:
    return event.state


def build() -> tuple[gr.Blocks, LiveRun]:
    """The page with every widget, and the run that feeds its curve."""
    run, live = LiveRun(), LiveText()

    def fill() -> dict:
        return heads_payload("filled", made_tokens(128), made_attention(4, 8, 128, seed=2))

    def fill_bars() -> dict:
        return bars_payload(made_logits(), _token_text, "Made-up numbers.")

    with gr.Blocks() as demo:
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                next_token_bars("bars", "Next token", value=fill_bars())
                bars_two = next_token_bars("bars-two", "Next token, second")
            with gr.Column(scale=3):
                value = heads_payload("first", made_tokens(12), made_attention(3, 4, 12))
                heads_grid("heads", "Attention heads", value=value)
        filled = heads_grid("heads-filled", "Attention, filled later")
        heads_grid("heads-live", "Growing", value=live.first(), rows_since=live.rows_since)
        curve = loss_curve("curve", "Loss", value=run.first(), loss_since=run.loss_since)
        loss_curve("curve-empty", "Loss, empty")
        tokens = token_view("tokens", "Tokens", value=_columns())
        picked = gr.Textbox(label="Picked", elem_id="picked")
        state = gr.Textbox(label="State", elem_id="state")
        button = gr.Button("Fill", elem_id="fill")
        button.click(fill, outputs=filled, show_progress="hidden")
        button.click(fill_bars, outputs=bars_two, show_progress="hidden")
        tokens.pick(_picked, outputs=picked, show_progress="hidden")
        curve.state(_state, outputs=state, show_progress="hidden")
    return demo, run


def launch(demo: gr.Blocks) -> str:
    """Serve on a free port of 127.0.0.1 without blocking; returns the address."""
    _, url, _ = demo.launch(
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,
        run_history=False,
        server_name="127.0.0.1",
        server_port=None,
        head=f"<script>{sampling_js()}</script>",
    )
    return url
