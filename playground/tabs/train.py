"""The Train tab: choose a text and a size, press one button, watch the loss fall."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from playground.components import loss_curve, note
from playground.shared import Shared
from playground.training import KNOBS, Trainer
from trainers.corpus import SUFFIXES
from trainers.presets import PRESETS
from trainers.sources import corpus_names

UPLOAD = "Your own text (.txt or .md, up to 10 MB), or one that is here already:"
QUIET = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False}


@dataclass
class TrainTab:
    """The components of the tab."""

    upload: gr.File
    corpus: gr.Dropdown
    preset: gr.Dropdown
    knobs: dict[str, gr.components.Component]
    cost: gr.HTML
    big: gr.Button
    stop: gr.Button
    sure: gr.Row
    stop_now: gr.Button
    go_on: gr.Button
    status: gr.HTML
    curve: gr.HTML
    sample: gr.Textbox
    chat: gr.Button
    said: gr.HTML
    run: gr.State
    state: gr.State
    timer: gr.Timer

    def followed(self) -> list:
        """What `Trainer.poll` fills."""
        return [self.state, self.big, self.stop, self.chat, self.status, self.sample]


def build_train(shared: Shared) -> TrainTab:
    """Lay out the tab and connect its events."""
    do = Trainer(shared.services)
    with gr.Row(elem_id="train-tab"):
        with gr.Column(elem_id="recipe", scale=0, min_width=320):
            gr.HTML(f"<p>{UPLOAD}</p>", elem_classes="guide")
            upload = gr.File(
                label="Your own text", show_label=False, file_types=list(SUFFIXES),
                elem_id="upload", height=124,
            )  # fmt: skip
            names = corpus_names(shared.services.corpora)
            corpus = gr.Dropdown(
                names, value="stories" if "stories" in names else next(iter(names), None),
                label="Text", info="What the model learns from.", elem_id="corpus",
            )  # fmt: skip
            preset = gr.Dropdown(
                [(f"{name}: {entry.purpose}", name) for name, entry in PRESETS.items()],
                value="small", label="Preset", info="A size and a recipe to start from.",
                elem_id="preset",
            )  # fmt: skip
            knobs = _knobs()
            cost = note("cost", "What the run will cost")
            with gr.Row(elem_id="run-buttons"):
                big = gr.Button("Start", variant="primary", elem_id="big-button", scale=2)
                stop = gr.Button("Stop", elem_id="stop-run", interactive=False, scale=1)
            with gr.Row(visible=False, elem_id="sure") as sure:
                stop_now = gr.Button("Stop and save", variant="stop", elem_id="stop-sure")
                go_on = gr.Button("Go on", elem_id="stop-not")
            said = note("train-note", "Notes on the form")
        with gr.Column(elem_id="progress", scale=1, min_width=320):
            status = note("run-status", "The run")
            curve = loss_curve("curve", "Loss curve", loss_since=do.loss_since)
            sample = gr.Textbox(
                label="Newest sample", lines=7, max_lines=7, interactive=False, elem_id="sample",
                info="What the model writes now, always from the same beginning.",
            )  # fmt: skip
            chat = gr.Button("Chat with it", elem_id="chat-with", interactive=False)
    tab = TrainTab(
        upload, corpus, preset, knobs, cost, big, stop, sure, stop_now, go_on, status, curve,
        sample, chat, said, gr.State(""), gr.State("idle"), gr.Timer(1.0),
    )  # fmt: skip
    _connect_form(do, tab)
    _connect_run(do, tab)
    return tab


def _knobs() -> dict[str, gr.components.Component]:
    """Three main controls, the rest folded away; every value starts as the preset's."""
    start = PRESETS["small"].config
    made: dict[str, gr.components.Component] = {}

    def slider(name: str, label: str, low: float, high: float, step: float, info: str) -> None:
        made[name] = gr.Slider(
            low, high, value=getattr(start, name), step=step, label=label, info=info,
            elem_id=f"knob-{name}",
        )  # fmt: skip

    slider("steps", "Steps", 10, 5000, 10, "How many times the weights are improved.")
    slider("batch_size", "Batch", 1, 64, 1, "Pieces of text read at each step.")
    slider("muon_lr", "Learning rate", 0.001, 0.1, 0.001, "How far each step goes.")
    with gr.Accordion("More", open=False, elem_id="more-knobs"):
        slider("n_layer", "Layers", 1, 12, 1, "Blocks of attention and MLP, one on another.")
        slider("n_head", "Heads", 1, 12, 1, "Ways of looking back in each layer.")
        slider("n_embd", "Width", 16, 768, 16, "Numbers that stand for a token.")
        slider("block_size", "Context", 16, 256, 16, "Tokens the model can look back on.")
        slider("vocab_size", "Vocabulary (BPE)", 272, 16384, 16, "Different tokens at most.")
        made["tokenizer"] = gr.Radio(
            ["char", "bpe"], value=start.tokenizer, label="Tokenizer", elem_id="knob-tokenizer",
            info="One token a character, or byte-pair encoding.",
        )  # fmt: skip
        slider("dropout", "Dropout", 0, 0.5, 0.05, "Share of activations switched off at random.")
        slider("adam_lr", "Learning rate of tables", 0.0001, 0.02, 0.0001, "For Adam.")
        slider("eval_every", "Steps between checks", 1, 500, 1, "On text that is held out.")
        slider("sample_every", "Steps between samples", 0, 500, 1, "0 writes none.")
        made["seed"] = gr.Number(
            start.seed, label="Seed", precision=0, info="The same seed repeats the run.",
            elem_id="knob-seed",
        )  # fmt: skip
        made["out"] = gr.Textbox(
            label="Name", placeholder="made from preset and text", max_lines=1,
            info="Of the model that comes out.", elem_id="knob-out",
        )  # fmt: skip
    return {name: made[name] for name in KNOBS}


def _connect_form(do: Trainer, tab: TrainTab) -> None:
    values = list(tab.knobs.values())
    form = [tab.preset, tab.corpus, *values]
    loaded = [tab.knobs[name] for name in KNOBS if name != "out"]
    tab.upload.upload(do.upload, [tab.upload], [tab.upload, tab.corpus, tab.said], **QUIET)
    tab.preset.input(do.suit, [tab.preset, tab.corpus], [tab.corpus], queue=False, **QUIET)
    tab.preset.input(do.load_preset, [tab.preset], loaded, queue=False, **QUIET).then(
        do.estimate, form, [tab.cost], queue=False, **QUIET
    )
    for control in (tab.corpus, *values):
        control.input(
            do.estimate, form, [tab.cost], queue=False, trigger_mode="always_last", **QUIET
        )


def _connect_run(do: Trainer, tab: TrainTab) -> None:
    form = [tab.preset, tab.corpus, *tab.knobs.values()]
    shown = [tab.run, tab.curve, *tab.followed()]
    follow = {"inputs": [tab.run], "outputs": shown, "queue": False, **QUIET}
    tab.big.click(
        do.press, [tab.state, *form], [tab.run, tab.curve, tab.said], queue=False, **QUIET
    ).then(do.follow, **follow)
    tab.timer.tick(do.follow, **follow)
    tab.curve.state(do.follow, **follow)
    asked = [tab.stop, tab.sure]
    tab.stop.click(do.ask_stop, None, asked, queue=False, **QUIET)
    tab.stop_now.click(do.stop, None, asked, queue=False, **QUIET).then(do.follow, **follow)
    tab.go_on.click(do.stay, None, asked, queue=False, **QUIET)
