"""The Chat tab: sampling rail on the left, the conversation beside it."""

from __future__ import annotations

import gradio as gr

from playground.chatting import CHAT, COMPLETE, ChatTab, Handlers
from playground.components import next_token_bars, note, reply_tokens
from playground.shared import Shared

_QUIET = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False}
FIRST_TEXT = "The Little Lamp\n\nOnce upon a time"
LIMITS = "A very small model: it makes things up. Everything runs on this computer."


def build_chat(shared: Shared) -> ChatTab:
    """Lay out the tab and connect its events; returns its components."""
    with gr.Row(elem_id="chat-tab", equal_height=False):
        with gr.Column(elem_id="rail", scale=0, min_width=280):
            bars = _rail(shared)
        with gr.Column(elem_id="talk", scale=1, min_width=320):
            tab = _talk(bars)
    _connect_chat(shared, tab)
    _connect_text(shared, tab)
    return tab


def _rail(shared: Shared) -> gr.HTML:
    """Sampling sliders, and below them the next-token bars that move with them."""
    settings = shared.settings
    gr.Markdown("### Sampling", elem_classes="section")
    for control in (settings.temperature, settings.top_k, settings.top_p):
        control.render()
    with gr.Accordion("More settings", open=False, elem_id="more-settings"):
        settings.max_new_tokens.render()
        settings.seed.render()
        settings.min_p.render()
        settings.repetition_penalty.render()
    gr.Markdown("### Next token", elem_classes="section")
    moving = [settings.temperature, settings.top_k, settings.top_p, settings.min_p]
    for control in moving:  # also when a setting is restored or reset, in the browser alone
        control.change(None, moving, None, js="window.pico.setSampling", **_QUIET)
    return next_token_bars("bars", "Chances of the next token")


def _talk(bars: gr.HTML) -> ChatTab:
    """The conversation, and the text box of the Complete mode."""
    with gr.Row(elem_id="talk-top"):
        mode = gr.Radio(
            [CHAT, COMPLETE], value=CHAT, label="Mode", show_label=False, container=False,
            elem_id="mode",
        )  # fmt: skip
        gr.Button("Sampling", elem_id="open-rail", size="sm", scale=0, min_width=88)
    with gr.Column(elem_id="chat-box", visible=True) as chat_box:
        chatbot = gr.Chatbot(
            elem_id="conversation", label="Conversation", show_label=False, height=None,
            render_markdown=False, editable="user", layout="bubble", buttons=["copy"],
            autoscroll=True, group_consecutive_messages=True, feedback_options=None,
        )  # fmt: skip
        with gr.Row(elem_id="composer", equal_height=True):
            message = gr.Textbox(
                elem_id="message", label="Message", show_label=False, container=False, lines=1,
                max_lines=6, placeholder="Write to the model. Enter sends.", scale=1,
                autofocus=True,
            )  # fmt: skip
            send = gr.Button("Send", variant="primary", elem_id="send", scale=0, min_width=72)
            stop = gr.Button("Stop", elem_id="stop", scale=0, min_width=64)
            clear = gr.Button("New", elem_id="clear", scale=0, min_width=64)
    with gr.Column(elem_id="text-box", visible=False) as text_box:
        text = gr.Textbox(
            FIRST_TEXT, elem_id="text", label="Text", show_label=False, container=False, lines=14,
            max_lines=24, placeholder="Begin a text here; the model goes on.",
        )  # fmt: skip
        with gr.Row(elem_id="text-buttons"):
            go_on = gr.Button("Continue", variant="primary", elem_id="continue", min_width=96)
            stop_text = gr.Button("Stop", elem_id="stop-text", min_width=64)
            take_back = gr.Button("Take back", elem_id="take-back", min_width=96)
    edit_last = gr.Button("Change the last message", elem_id="edit-last", visible="hidden")
    status = note("chat-note", "Notes on the reply")
    tokens = reply_tokens("reply-tokens", "Tokens of the last reply")
    gr.HTML(f"<p>{LIMITS}</p>", elem_id="limits")
    return ChatTab(
        mode, chatbot, message, send, stop, clear, text, go_on, stop_text, take_back, chat_box,
        text_box, status, bars, tokens, edit_last,
    )  # fmt: skip


def _connect_chat(shared: Shared, tab: ChatTab) -> None:
    do = Handlers(shared, tab)
    asking = [shared.model, *shared.settings.all()]
    outputs = [
        tab.chatbot, tab.message, tab.status, tab.tokens, shared.trace, shared.last_reply,
        shared.stored_chat,
    ]  # fmt: skip
    sends = {"inputs": [tab.message, tab.chatbot, *asking], "outputs": outputs, **_QUIET}
    again = {"inputs": [tab.chatbot, *asking], "outputs": outputs, **_QUIET}
    replies = [
        tab.message.submit(do.send, **sends),
        tab.send.click(do.send, **sends),
        tab.chatbot.retry(do.retry, **again),
        tab.chatbot.edit(do.edit, **again),
        tab.chatbot.example_select(do.example, **again),
    ]
    taken = {"inputs": [tab.chatbot], "outputs": [tab.chatbot, tab.message, shared.stored_chat]}
    changes = [
        tab.chatbot.undo(do.undo, **taken, **_QUIET),
        tab.edit_last.click(do.undo, queue=False, **taken, **_QUIET),
        tab.clear.click(do.clear, None, [*outputs], queue=False, **_QUIET),
        tab.chatbot.clear(do.clear, None, [*outputs], queue=False, **_QUIET),
    ]
    tab.stop.click(do.stop, None, None, queue=False, **_QUIET)
    seen = [tab.mode, tab.message, tab.chatbot, tab.text, shared.model]
    for event in (*replies, *changes):
        event.then(do.chances, seen, [tab.bars], **_QUIET)
    for control in (tab.message, tab.text):  # `input` would miss what is pasted or deleted
        control.change(
            do.chances, seen, [tab.bars], queue=False, trigger_mode="always_last", **_QUIET
        )
    tab.mode.change(do.chances, seen, [tab.bars], **_QUIET)


def _connect_text(shared: Shared, tab: ChatTab) -> None:
    do = Handlers(shared, tab)
    asking = [shared.model, *shared.settings.all()]
    outputs = [
        tab.text, tab.before, tab.status, tab.tokens, shared.trace, shared.last_reply,
        shared.stored_text,
    ]  # fmt: skip
    event = tab.go_on.click(do.complete, [tab.text, tab.before, *asking], outputs, **_QUIET)
    back = tab.take_back.click(
        do.take_back, [tab.before, tab.text], [tab.text, tab.before, shared.stored_text],
        queue=False, **_QUIET,
    )  # fmt: skip
    tab.stop_text.click(do.stop, None, None, queue=False, **_QUIET)
    seen = [tab.mode, tab.message, tab.chatbot, tab.text, shared.model]
    for event in (event, back):  # noqa: B020
        event.then(do.chances, seen, [tab.bars], **_QUIET)
    tab.mode.input(do.switch, [tab.mode], [tab.chat_box, tab.text_box], queue=False, **_QUIET)
