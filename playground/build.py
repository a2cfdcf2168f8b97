"""The composition root: services in, a page out; and the flags with which it is served."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr

from picogpt.errors import PicoGPTError
from playground.api import add_api
from playground.chatting import CHAT, ChatTab, Handlers, greeting, prompts
from playground.components import run_chip
from playground.security import guard
from playground.services import Services
from playground.shared import Shared, make_shared
from playground.tabs.chat import build_chat
from playground.tabs.inside import InsideTab, Looker, build_inside
from playground.tabs.models import ModelsTab, Shelf, build_models
from playground.tabs.tokens import Splitter, TokensTab, build_tokens
from playground.tabs.train import TrainTab, build_train
from playground.theme import head, theme
from playground.training import Trainer
from trainers.corpus import MAX_BYTES

TITLE = "Pico-GPT Playground"
QUIET = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False}
"""Values come as the page holds them: `forms` checks them, and says in a sentence what is wrong."""


@dataclass
class Page:
    """The tabs and what they share."""

    shared: Shared
    chat: ChatTab
    inside: InsideTab
    tokens: TokensTab
    train: TrainTab
    models: ModelsTab


def build_app(services: Services) -> gr.Blocks:
    """The whole page with all its events and API endpoints."""
    with gr.Blocks(
        title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(600, 3600)
    ) as app:
        add_api(services)  # first: else a handler called complete takes that name
        shared = make_shared(services)
        shared.stored_settings.render()
        shared.stored_chat.render()
        shared.stored_text.render()
        trainer = Trainer(services)
        with gr.Row(elem_id="header", equal_height=True):
            gr.HTML(f"<h1>{TITLE}</h1>", elem_id="title")
            shared.model.render()
            chip = run_chip("run-chip", "Training", run_now=trainer.run_now)
            gr.Button("Light / dark", elem_id="theme-toggle", scale=0, min_width=104, size="sm")
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Chat", id="chat"):
                chat = build_chat(shared)
            with gr.Tab("Look inside", id="inside"):
                inside = build_inside(shared)
            with gr.Tab("Tokens", id="tokens"):
                tokens = build_tokens(shared)
            with gr.Tab("Train", id="train"):
                train = build_train(shared)
            with gr.Tab("Models", id="models") as models_tab:
                models = build_models(shared)
        page = Page(shared, chat, inside, tokens, train, models)
        chip.open(_open_train, None, [tabs], queue=False, **QUIET)
        _fill(page)
        _connect_model(page)
        _connect_opening(app, page, trainer)
        _connect_lists(page, models_tab)
    return app


def _fill(page: Page) -> None:
    """What a page holds before it has asked for anything, so that it never opens blank."""
    services, name = page.shared.services, page.shared.services.first()
    do, look, split = (
        Handlers(page.shared, page.chat), Looker(services), Splitter(services),
    )  # fmt: skip
    try:
        meta = services.models.get(name).checkpoint.meta
    except PicoGPTError:
        return  # no model, or a damaged one: the page says so when it opens
    page.chat.chatbot.placeholder = greeting(name, meta)
    page.chat.chatbot.examples = [{"text": text} for text in prompts(meta)]
    page.chat.bars.value = do.chances(CHAT, "", [], page.chat.text.value, name)
    page.shared.heads.value = look.read(page.inside.text.value, name)[0]
    page.tokens.view.value = split.columns(page.tokens.text.value, name)[0]


def _open_train() -> dict:
    return gr.Tabs(selected="train")


def _connect_model(page: Page) -> None:
    """Another model in the header changes every tab."""
    shared, chat = page.shared, page.chat
    do, look, split = (
        Handlers(shared, chat), Looker(shared.services), Splitter(shared.services),
    )  # fmt: skip
    chosen = [chat.mode, chat.chat_box, chat.text_box, chat.status, chat.chatbot,
              shared.settings.top_k]  # fmt: skip
    asked = [chat.mode, shared.model, shared.settings.top_k]
    shared.model.change(do.choose, asked, chosen, queue=False, **QUIET).then(
        do.chances, [chat.mode, chat.message, chat.chatbot, chat.text, shared.model],
        [chat.bars], **QUIET,
    )  # fmt: skip
    shared.model.change(
        look.read, [page.inside.text, shared.model], [shared.heads, page.inside.status], **QUIET
    )
    shared.model.change(
        split.columns, [page.tokens.text, shared.model],
        [page.tokens.view, page.tokens.status], **QUIET,
    )  # fmt: skip


def _connect_opening(app: gr.Blocks, page: Page, trainer: Trainer) -> None:
    """What a page shows when it opens, and what it brings back from the browser's memory."""
    shared, chat, train = page.shared, page.chat, page.train
    controls = [shared.model, chat.mode, *shared.settings.all()]
    do, look, split = (
        Handlers(shared, chat), Looker(shared.services), Splitter(shared.services),
    )  # fmt: skip
    memory = Memory(shared)
    chosen = [chat.mode, chat.chat_box, chat.text_box, chat.status, chat.chatbot,
              shared.settings.top_k]  # fmt: skip
    restored = app.load(
        memory.restore, [shared.stored_settings, shared.stored_chat, shared.stored_text],
        [*controls, chat.chatbot, chat.text], queue=False, **QUIET,
    ).then(
        do.choose, [chat.mode, shared.model, shared.settings.top_k], chosen, queue=False, **QUIET
    )  # fmt: skip
    restored.then(
        do.chances, [chat.mode, chat.message, chat.chatbot, chat.text, shared.model],
        [chat.bars], **QUIET,
    ).then(None, js="window.pico.opened", **QUIET)  # fmt: skip
    restored.then(
        look.read, [page.inside.text, shared.model], [shared.heads, page.inside.status], **QUIET
    )
    restored.then(
        split.columns, [page.tokens.text, shared.model],
        [page.tokens.view, page.tokens.status], **QUIET,
    )  # fmt: skip
    app.load(trainer.open, None, [train.run, train.curve, *train.followed()], queue=False, **QUIET)
    form = [train.preset, train.corpus, *train.knobs.values()]
    app.load(trainer.estimate, form, [train.cost], **QUIET)
    for control in controls:
        control.change(
            None, controls, [shared.stored_settings], js="window.pico.keepControls", **QUIET
        )
    app.unload(do.stop)


def _connect_lists(page: Page, models_tab: gr.Tab) -> None:
    """The list of models is read anew when its tab opens and when a run made one."""
    shared, models, train = page.shared, page.models, page.train
    shelf, trainer = Shelf(shared.services), Trainer(shared.services)
    lists = [models.table, models.picked, shared.model]
    models_tab.select(shelf.refresh, [shared.model], lists, queue=False, **QUIET)
    train.chat.click(
        trainer.chat_with, [train.run], [shared.model, train.said], queue=False, **QUIET
    )


class Memory:
    """What the browser keeps for its person: the model, the settings, the conversation."""

    def __init__(self, shared: Shared) -> None:
        self.services = shared.services

    def restore(self, stored: dict, chat: dict, text: dict) -> tuple[object, ...]:
        """The controls and the conversation as they were; defaults where nothing fits."""
        values = stored.get("controls") if isinstance(stored, dict) else None
        names = self.services.models.names()
        if not isinstance(values, list) or len(values) != 9:
            values = ["", CHAT, *[gr.skip()] * 7]
        infos = [(info.label, info.name) for info in self.services.models.infos()]
        model = values[0] if values[0] in names else self.services.first()
        messages = chat.get("messages") if isinstance(chat, dict) else None
        words = text.get("text") if isinstance(text, dict) else None
        return (
            gr.update(choices=infos, value=model or None), *values[1:],
            messages if isinstance(messages, list) and messages else gr.skip(),
            words if isinstance(words, str) else gr.skip(),
        )  # fmt: skip


def launch(
    app: gr.Blocks,
    host: str = "127.0.0.1",
    port: int = 7860,
    allow_hosts: Iterable[str] = (),
    auth: tuple[str, str] | None = None,
    block: bool = True,
    quiet: bool = False,
) -> str:
    """Serve the page.

    Args:
        app: from `build_app`.
        host: address to bind.
        port: TCP port; 0 takes a free one.
        allow_hosts: further host names that requests may carry.
        auth: user and password that every visitor must give.
        block: stay until interrupted; otherwise return at once.
        quiet: print nothing.

    Returns:
        The page's address.

    Raises:
        OSError: the port is taken.
    """
    app.queue(max_size=64, default_concurrency_limit=None)
    _, url, _ = app.launch(
        server_name=host, server_port=port or None, share=False, ssr_mode=False,
        run_history=False, enable_monitoring=False, max_threads=128, auth=auth,
        max_file_size=5 * MAX_BYTES, state_session_capacity=200, inbrowser=False,
        app_kwargs={"middleware": [guard(host, allow_hosts)]}, theme=theme(), head=head(),
        prevent_thread_lock=True, quiet=True, show_error=True, footer_links=["api"],
    )  # fmt: skip
    if not quiet:
        print(f"{TITLE} is at {url} (Ctrl-C ends it)", flush=True)
    if block:
        app.block_thread()
    return url
