"""A tiny app with the widgets around a reply and a run, for test_reply_widgets.py."""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import SimpleNamespace

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr

from playground.components import note, reply_payload, reply_tokens, run_chip

WORDS = [
    "Hello", ",", " I", " am", " a", " small", " model", ".", "\n", "<b>hi</b>", " ${1+1}",
    " {{x}}", " the", " sea", "\ufffd", " caf\u00e9",
]  # fmt: skip
RARE = 99
"""An id that is never among the alternatives."""


def token_text(token: int) -> str:
    """The text of an id of the made-up vocabulary."""
    return " unlikely" if token == RARE else WORDS[token % len(WORDS)]


def made_step(i: int, shape: str = "usual") -> SimpleNamespace:
    """A step like the engine's, worked by hand; shape is usual, sure, zero, rare or penalised.

    usual: token i has 0.2 (0.25 after), second to another with 0.4 (0.5 after); u 0.63 falls in it.
    rare: id 99 has 0.01 (0.0125 after), is at rank 30, and u 0.99 falls beyond the alternatives.
    penalised: 0.3 of unlisted words lie before the chosen one.
    """
    kept = {"usual": [0.5, 0.25, 0.125, 0.0625], "penalised": [0.5, 0.1, 0.05, 0.0]}
    after = kept.get(shape, [0.5, 0.25, 0.125, 0.0625])
    prob = [0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005]
    after = after + [0.0] * (len(prob) - len(after))
    ids = [i + 1, i, *range(i + 2, i + 10)]
    step = SimpleNamespace(id=i, prob=0.2, kept_prob=0.25, rank=1, entropy=2.31, u=0.63)
    if shape == "penalised":
        step.kept_prob, step.u = 0.1, 0.85
    if shape == "sure":
        prob, after = [0.99] + [0.0011] * 9, [1.0] + [0.0] * 9
        ids[0], ids[1] = i, i + 1
        step.prob, step.kept_prob, step.rank, step.entropy, step.u = 0.99, 1.0, 0, 0.09, 0.5
    if shape == "zero":
        after = [1.0] + [0.0] * 9
        ids[0], ids[1] = i, i + 1
        step.prob, step.kept_prob, step.rank, step.u = 0.4, 1.0, 0, None
    if shape == "rare":
        step.id, step.prob, step.kept_prob = RARE, 0.01, 0.0125
        ids[1] = i + 20
        step.rank, step.entropy, step.u = 30, 5.2, 0.99
    step.alternatives = tuple(
        SimpleNamespace(id=a, prob=p, kept_prob=k) for a, p, k in zip(ids, prob, after, strict=True)
    )
    return step


SHAPES = ["sure", "usual", "zero", "rare", "penalised"]


def made_reply(key: str, n: int) -> dict:
    """The payload of n tokens that cycle through the shapes."""
    steps = [made_step(i, SHAPES[i % len(SHAPES)]) for i in range(n)]
    return reply_payload(key, "pico-chat", 7, "temperature 0.8, top-k 20", steps, token_text)


@dataclass
class Run:
    """What the chip is told; a test changes it."""

    now: dict | None = None
    asked: int = 0

    def run_now(self) -> dict | None:
        self.asked += 1
        return self.now


def _growing() -> dict:
    return made_reply("one", 20)


def _other() -> dict:
    return {**made_reply("two", 5), "prompt_note": "The oldest 2 messages are no longer read."}


def _say_busy() -> dict:
    return {"text": "Reading <b>file</b>", "kind": "busy"}


def _say_error() -> dict:
    return {"text": "top-k is 0 to 8,000 here; 9,000 is too many.", "kind": "error"}


def _nothing() -> None:
    return None


def _opened(event: gr.EventData) -> str:
    return event.name


def build() -> tuple[gr.Blocks, Run]:
    """The page, and the run behind its chip; its strip sits where a container clips."""
    run = Run()
    with gr.Blocks() as demo:
        with gr.Row(elem_id="header"):
            gr.Markdown("Pico-GPT Playground")
            chip = run_chip("chip", "Training", run_now=run.run_now)
        with gr.Group(elem_id="clipping"):
            strip = reply_tokens("reply", "Tokens of the reply", value=made_reply("one", 14))
        reply_tokens("reply-empty", "Tokens of no reply")
        box = gr.Textbox(label="Message", elem_id="message")
        line = note("note", "About the message")
        opened = gr.Textbox(label="Opened", elem_id="opened")
        with gr.Row():
            for name, handler, output in (
                ("grow", _growing, strip),
                ("other", _other, strip),
                ("clear", _nothing, strip),
                ("busy", _say_busy, line),
                ("error", _say_error, line),
                ("quiet", _nothing, line),
            ):
                button = gr.Button(name, elem_id=name, min_width=80)
                button.click(handler, outputs=output, show_progress="hidden")
        chip.open(_opened, outputs=opened, show_progress="hidden")
        box.submit(_say_busy, outputs=line, show_progress="hidden")
    return demo, run
