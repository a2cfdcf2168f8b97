"""What happens in the Chat tab; `tabs/chat.py` lays it out and connects it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import gradio as gr

from picogpt.chat import Turn, render
from picogpt.errors import PicoGPTError
from picogpt.pico import Pico
from playground.components import bars_payload, reply_payload
from playground.errors import error_note, info_note
from playground.forms import sampling_form, settings_line, text_form
from playground.replies import Reply, chat_reply, completion
from playground.shared import Shared

CHAT, COMPLETE = "Chat", "Complete"
GREETING = "Say hello to {name}."
NOT_FOR_CHAT = (
    "{name} was trained to continue text, not to chat, so it completes what you write. "
    "Choose pico-chat to talk."
)
Messages = list[dict]


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


# --- messages ---------------------------------------------------------------------------------


def message_text(message: dict) -> str:
    """What was said in a message of the page, without the caption under it."""
    content = message["content"]
    if isinstance(content, str):
        return content
    parts = [part["text"] if isinstance(part, dict) else str(part) for part in content]
    return parts[0] if parts else ""


def turns_of(messages: Messages) -> list[Turn]:
    """The conversation behind the messages of the page."""
    return [Turn(m["role"], message_text(m)) for m in messages if m["role"] != "system"]


def said(text: str, caption: str = "") -> dict:
    """A message of the model; the caption is shown under it and never read by the model."""
    parts = [{"type": "text", "text": text}]
    return {
        "role": "assistant",
        "content": parts + ([{"type": "text", "text": caption}] if caption else []),
    }


def asked(text: str) -> dict:
    """A message of the person."""
    return {"role": "user", "content": [{"type": "text", "text": text}]}


def last_question(messages: Messages) -> tuple[Messages, str]:
    """What came before the last message of the person, and that message."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index]["role"] == "user":
            return messages[:index], message_text(messages[index])
    return messages, ""


# --- handlers ---------------------------------------------------------------------------------


class Handlers:
    """What the tab's events do; one object for all sessions, holding no one's text."""

    def __init__(self, shared: Shared, tab: ChatTab) -> None:
        self.shared, self.tab, self.services = shared, tab, shared.services

    def send(
        self, message: str, messages: Messages, model: str, request: gr.Request,
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
        self, messages: Messages, model: str, event: gr.EditData, request: gr.Request,
        *settings: object,
    ) -> Iterator[dict]:
        """Answer a message that was changed; what came after it is dropped."""
        index = event.index[0] if isinstance(event.index, (list, tuple)) else event.index
        yield from self._answer(str(event.value), messages[:index], model, settings, request)

    def example(
        self, messages: Messages, model: str, event: gr.SelectData, request: gr.Request,
        *settings: object,
    ) -> Iterator[dict]:
        """Ask one of the prompts that the model suggests."""
        yield from self._answer(event.value["text"], messages, model, settings, request)

    def undo(self, messages: Messages) -> tuple[Messages, str, dict]:
        """Take the last exchange back; its question returns to the box."""
        earlier, question = last_question(messages)
        return earlier, question, {"messages": earlier}

    def clear(self, request: gr.Request) -> dict:
        """Begin a new conversation."""
        self.services.sessions.stop(request.session_hash or "")
        tab = self.tab
        return {
            tab.chatbot: [], tab.status: None, tab.tokens: None,
            self.shared.stored_chat: {"messages": []},
        }  # fmt: skip

    def _answer(
        self, message: str, messages: Messages, model: str, settings: tuple[object, ...],
        request: gr.Request,
    ) -> Iterator[dict]:
        tab = self.tab
        try:
            pico = self.services.models.get(model)
            sampling, tokens = sampling_form(pico.engine.config, *settings)
            asked_now = [*messages, asked(text_form(message, "The message"))]
            stop = self.services.sessions.begin(request.session_hash or "")
            updates = chat_reply(
                pico, turns_of(asked_now), sampling, tokens, stop, self.services.traces
            )
            yield {tab.chatbot: asked_now, tab.message: "", tab.status: None, tab.tokens: None}
            key = None
            for reply in updates:
                shown = {tab.chatbot: [*asked_now, said(reply.text)]}
                if reply.trace is not None and reply.trace.key != key:
                    key = reply.trace.key
                    shown[self.shared.heads] = reply.trace.payload()
                yield shown
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
            stop = self.services.sessions.begin(request.session_hash or "")
            updates = completion(
                pico, text_form(text), sampling, tokens, stop, self.services.traces
            )
            yield {tab.status: None, tab.tokens: None}
            key = None
            for reply in updates:
                shown = {tab.text: text + reply.text}
                if reply.trace is not None and reply.trace.key != key:
                    key = reply.trace.key
                    shown[self.shared.heads] = reply.trace.payload()
                yield shown
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

    def take_back(self, before: list[str], text: str) -> tuple[str, list[str]]:
        """The text as it was before the last completion."""
        return (before[-1], before[:-1]) if before else (text, [])

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
                return next_of_text(pico, text)
            return first_of_reply(pico, messages, message)
        except PicoGPTError:
            return None  # said in words when the text is sent

    def switch(self, mode: str) -> tuple[dict, dict]:
        """Show the conversation or the text."""
        return gr.update(visible=mode == CHAT), gr.update(visible=mode == COMPLETE)

    def choose(self, mode: str, model: str) -> tuple[dict, ...]:
        """Show what the mode and the model allow; a model that cannot chat completes."""
        try:
            pico = self.services.models.get(model)
        except PicoGPTError as error:
            return gr.skip(), gr.skip(), gr.skip(), error_note(error), gr.skip(), gr.skip()
        chats = pico.checkpoint.can_chat
        mode = mode if chats else COMPLETE
        why = "" if chats else NOT_FOR_CHAT.format(name=model)
        meta = pico.checkpoint.meta
        vocab = pico.engine.config.vocab_size
        return (
            gr.update(value=mode, interactive=chats),
            gr.update(visible=mode == CHAT),
            gr.update(visible=mode == COMPLETE),
            info_note(why),
            gr.update(
                placeholder=greeting(model, meta),
                examples=[{"text": text} for text in meta.get("prompts", [])[:8]],
            ),
            gr.update(maximum=min(200, vocab)),
        )


def greeting(model: str, meta: dict) -> str:
    """What the model says before anything was said, from its manifest."""
    return meta.get("greeting") or GREETING.format(name=model)


def first_of_reply(pico: Pico, messages: Messages, message: str) -> dict:
    """Bars for the first token of the reply to `message`, or to the last one that was sent."""
    earlier, last = last_question(messages)
    if message.strip():
        earlier, last = messages, message
    last = last or "Hello!"
    ids = render([*turns_of(earlier), Turn("user", last)], pico.tokenizer,
                 pico.engine.config.block_size).ids
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
    return reply_payload(
        key, model, reply.seed, settings, reply.steps, pico.tokenizer.token_text
    )
