"""What happens in the Chat tab; `tabs/chat.py` lays it out and connects it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import gradio as gr

from picogpt.chat import Turn, render
from picogpt.errors import PicoGPTError
from picogpt.pico import Pico
from playground.components import bars_payload, reply_payload
from playground.errors import error_note, info_note
from playground.forms import sampling_form, settings_line, text_form
from playground.messages import Messages, asked, last_question, plain, said, turns_of
from playground.replies import Reply, chat_reply, completion
from playground.shared import Shared

CHAT, COMPLETE = "Chat", "Complete"
GREETING = "Say hello to {name}."
NOT_FOR_CHAT = (
    "{name} was trained to continue text, not to chat, so it completes what you write. "
    "Choose pico-chat to talk."
)


@dataclass
class ChatTab:
    """The components of the tab that its handlers read and write."""

    mode: gr.Radio
    chatbot: gr.Chatbot
    message: gr.Textbox
    send: gr.Button
    stop: gr.Button
    clear: gr.Button
    text: gr.Textbox
    go_on: gr.Button
    stop_text: gr.Button
    take_back: gr.Button
    chat_box: gr.Column
    text_box: gr.Column
    status: gr.HTML
    bars: gr.HTML
    tokens: gr.HTML
    edit_last: gr.Button
    before: gr.State = field(default_factory=lambda: gr.State([]))
    """Texts before each completion, for taking one back."""


# --- handlers ---------------------------------------------------------------------------------


class Handlers:
    """What the tab's events do; one object for all sessions, holding no one's text."""

    def __init__(self, shared: Shared, tab: ChatTab) -> None:
        self.shared, self.tab, self.services = shared, tab, shared.services

    def send(
        self,
        message: str,
        messages: Messages,
        model: str,
        request: gr.Request,
        *settings: object,
    ) -> Iterator[dict]:
        """Answer a new message."""
        yield from self._answer(message, messages, model, settings, request)

    def retry(
        self, messages: Messages, model: str, request: gr.Request, *settings: object
    ) -> Iterator[dict]:
        """Answer the last message once more."""
        earlier, message = last_question(messages)
        yield from self._answer(message, earlier, model, settings, request)

    def edit(
        self,
        messages: Messages,
        model: str,
        event: gr.EditData,
        request: gr.Request,
        *settings: object,
    ) -> Iterator[dict]:
        """Answer a message that was changed; what came after it is dropped."""
        index = event.index[0] if isinstance(event.index, (list, tuple)) else event.index
        yield from self._answer(plain(str(event.value)), messages[:index], model, settings, request)

    def example(
        self,
        messages: Messages,
        model: str,
        event: gr.SelectData,
        request: gr.Request,
        *settings: object,
    ) -> Iterator[dict]:
        """Ask one of the prompts that the model suggests."""
        yield from self._answer(event.value["text"], messages, model, settings, request)

    def undo(self, messages: Messages, request: gr.Request) -> tuple[Messages, str, dict]:
        """Take the last exchange back; its question returns to the box."""
        self.services.sessions.drop(request.session_hash or "")
        earlier, question = last_question(messages)
        return earlier, question, {"messages": earlier}

    def clear(self, request: gr.Request) -> dict:
        """Begin a new conversation."""
        self.services.sessions.drop(request.session_hash or "")
        tab = self.tab
        return {
            tab.chatbot: [], tab.status: None, tab.tokens: None,
            self.shared.stored_chat: {"messages": []},
        }  # fmt: skip

    def _answer(
        self,
        message: str,
        messages: Messages,
        model: str,
        settings: tuple[object, ...],
        request: gr.Request,
    ) -> Iterator[dict]:
        tab, sessions, session = self.tab, self.services.sessions, request.session_hash or ""
        try:
            pico = self.services.models.get(model)
            sampling, tokens = sampling_form(pico.engine.config, *settings)
            asked_now = [*messages, asked(text_form(message, "The message"))]
            stop = threading.Event()
            updates = chat_reply(
                pico, turns_of(asked_now), sampling, tokens, stop, self.services.traces
            )
            sessions.begin(session, stop)
            yield {tab.chatbot: asked_now, tab.message: "", tab.status: None, tab.tokens: None}
            key = None
            for reply in updates:
                if not sessions.holds(session, stop):
                    break  # the conversation has moved on: New, undo or another question
                update = {tab.chatbot: [*asked_now, said(reply.text)]}
                if reply.trace is not None and reply.trace.key != key:
                    key = reply.trace.key
                    update[self.shared.trace] = key
                yield update
            if not sessions.holds(session, stop):
                yield {tab.chatbot: gr.skip()}  # what is sent last is applied once more at the end
                return
            done = [*asked_now, said(reply.text, reply.caption(model))]
            yield {
                tab.chatbot: done,
                tab.status: info_note(reply.note),
                tab.tokens: _tokens_payload(pico, reply, model, settings_line(sampling)),
                self.shared.last_reply: f"{message} {reply.text}",
                self.shared.stored_chat: {"messages": done},
            }
        except PicoGPTError as error:
            yield {tab.status: error_note(error), tab.message: message}

    def complete(
        self, text: str, before: list[str], model: str, request: gr.Request, *settings: object
    ) -> Iterator[dict]:
        """Continue the text in the box."""
        tab = self.tab
        try:
            pico = self.services.models.get(model)
            sampling, tokens = sampling_form(pico.engine.config, *settings)
            text, stop = text_form(text), threading.Event()
            updates = completion(pico, text, sampling, tokens, stop, self.services.traces)
            self.services.sessions.begin(request.session_hash or "", stop)
            yield {tab.status: None, tab.tokens: None}
            key = None
            for reply in updates:
                update = {tab.text: text + reply.text}
                if reply.trace is not None and reply.trace.key != key:
                    key = reply.trace.key
                    update[self.shared.trace] = key
                yield update
            yield {
                tab.text: text + reply.text,
                tab.before: [*before[-20:], text],
                tab.status: info_note(reply.note or reply.caption(model)),
                tab.tokens: _tokens_payload(pico, reply, model, settings_line(sampling)),
                self.shared.last_reply: text + reply.text,
                self.shared.stored_text: {"text": text + reply.text},
            }
        except PicoGPTError as error:
            yield {tab.status: error_note(error)}

    def take_back(self, before: list[str], text: str) -> tuple[str, list[str], dict]:
        """The text as it was before the last completion."""
        text = before[-1] if before else text
        return text, before[:-1], {"text": text}

    def stop(self, request: gr.Request) -> None:
        """End the session's stream."""
        self.services.sessions.stop(request.session_hash or "")

    def chances(
        self, mode: str, message: str, messages: Messages, text: str, model: str
    ) -> dict | None:
        """The bars: chances of the first token of a reply, or of the next one of a text."""
        try:
            pico = self.services.models.get(model)
            if mode == COMPLETE or not pico.checkpoint.can_chat:
                return next_of_text(pico, text or "")
            return first_of_reply(pico, messages, message or "")
        except PicoGPTError:
            return None  # said in words when the text is sent

    def switch(self, mode: str) -> tuple[dict, dict]:
        """Show the conversation or the text."""
        return gr.update(visible=mode == CHAT), gr.update(visible=mode == COMPLETE)

    def choose(self, mode: str, model: str, top_k: object) -> tuple[dict, ...]:
        """Show what the mode and the model allow; a model that cannot chat completes."""
        try:
            pico = self.services.models.get(model)
        except PicoGPTError as error:
            return gr.skip(), gr.skip(), gr.skip(), error_note(error), gr.skip(), gr.skip()
        chats = pico.checkpoint.can_chat
        mode = mode if chats else COMPLETE
        why = "" if chats else NOT_FOR_CHAT.format(name=model)
        meta = pico.checkpoint.meta
        most = min(200, pico.engine.config.vocab_size)
        over = isinstance(top_k, (int, float)) and top_k > most
        return (
            gr.update(value=mode, interactive=chats),
            gr.update(visible=mode == CHAT),
            gr.update(visible=mode == COMPLETE),
            info_note(why),
            gr.update(
                placeholder=greeting(model, meta),
                examples=[{"text": text} for text in prompts(meta)],
            ),
            gr.update(maximum=most, **({"value": most} if over else {})),
        )


def greeting(model: str, meta: dict) -> str:
    """What the model says before anything was said, from its manifest."""
    words = str(meta.get("greeting") or GREETING.format(name=model))
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", words)  # the page reads it as Markdown


def prompts(meta: dict) -> list[str]:
    """At most eight things to ask, from a model's manifest."""
    listed = meta.get("prompts")
    return [str(text) for text in listed[:8]] if isinstance(listed, list) else []


def first_of_reply(pico: Pico, messages: Messages, message: str) -> dict:
    """Bars for the first token of the reply to `message`, or to the last one that was sent."""
    earlier, last = last_question(messages)
    if message.strip():
        earlier, last = messages, message
    last = last or "Hello!"
    ids = render(
        [*turns_of(earlier), Turn("user", last)], pico.tokenizer, pico.engine.config.block_size
    ).ids
    shown = last if len(last) <= 40 else last[:37] + "..."
    return _bars(pico, ids, f'How the reply to "{shown}" begins')


def next_of_text(pico: Pico, text: str) -> dict:
    """Bars for the token after `text`."""
    return _bars(pico, pico.encode_prompt(text), "What comes next in the text")


def _bars(pico: Pico, ids: list[int], words: str) -> dict:
    return bars_payload(pico.engine.next_logits(ids).numpy(), pico.tokenizer.token_text, words)


def _tokens_payload(pico: Pico, reply: Reply, model: str, settings: str) -> dict | None:
    if not reply.steps:
        return None
    key = reply.trace.key if reply.trace is not None else str(reply.seed)
    return reply_payload(key, model, reply.seed, settings, reply.steps, pico.tokenizer.token_text)
