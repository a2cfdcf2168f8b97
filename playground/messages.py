"""Messages of the Chat tab: between the conversation's turns and what the Chatbot shows."""

from __future__ import annotations

import re

from picogpt.chat import Turn

Messages = list[dict]
JOINER = "\u2060"
"""A character without width (word joiner) that keeps a text from being read as HTML."""


def shown(text: str) -> str:
    """A text as the Chatbot is given it, which reads its messages as HTML, even plain ones.

    A `<` or `&` that could begin a tag or an entity gets a `JOINER` behind it, so that all
    characters are seen as they are and nothing is loaded from anywhere.
    """
    return re.sub(r"<(?=[A-Za-z/!?])|&(?=[A-Za-z#])", rf"\g<0>{JOINER}", text)


def plain(text: str) -> str:
    """The text behind `shown`."""
    return text.replace(f"<{JOINER}", "<").replace(f"&{JOINER}", "&")


def message_text(message: dict) -> str:
    """What was said in a message of the page, without the caption under it."""
    content = message["content"]
    if not isinstance(content, str):
        parts = [part.get("text") if isinstance(part, dict) else part for part in content]
        content = str(parts[0] or "") if parts else ""
    return plain(content)


def turns_of(messages: Messages) -> list[Turn]:
    """The conversation behind the messages of the page."""
    return [Turn(m["role"], message_text(m)) for m in messages if m["role"] != "system"]


def said(text: str, caption: str = "") -> dict:
    """A message of the model; the caption is shown under it and never read by the model."""
    parts = [{"type": "text", "text": shown(text)}]
    return {
        "role": "assistant",
        "content": parts + ([{"type": "text", "text": shown(caption)}] if caption else []),
    }


def asked(text: str) -> dict:
    """A message of the person."""
    return {"role": "user", "content": [{"type": "text", "text": shown(text)}]}


def last_question(messages: Messages) -> tuple[Messages, str]:
    """What came before the last message of the person, and that message."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index]["role"] == "user":
            return messages[:index], message_text(messages[index])
    return messages, ""
