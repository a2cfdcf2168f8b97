"""What the Chatbot shows and what the model reads are the same characters."""

from __future__ import annotations

import html
import re

from hypothesis import given
from hypothesis import strategies as st

from picogpt.chat import Turn
from playground.messages import (
    JOINER,
    asked,
    last_question,
    message_text,
    plain,
    said,
    shown,
    turns_of,
)

MARKUP = st.text(st.sampled_from("<>&/!?#;=\"' abilmtsx1\n"), max_size=40)


@given(MARKUP)
def test_nothing_in_a_message_can_be_read_as_html(text):
    made = shown(text)
    assert not re.search(r"<[A-Za-z/!?]", made)  # what begins a tag, by the HTML standard
    assert html.unescape(made) == made
    assert made.replace(JOINER, "") == text


@given(MARKUP | st.text().filter(lambda text: JOINER not in text))
def test_the_model_reads_what_was_typed(text):
    assert plain(shown(text)) == text
    assert message_text(asked(text)) == message_text(said(text, "caption")) == text


def test_a_caption_is_never_read():
    messages = [asked("Hi"), said("Yes?", "pico-chat, seed 1"), asked("Who?")]
    assert turns_of(messages) == [
        Turn("user", "Hi"),
        Turn("assistant", "Yes?"),
        Turn("user", "Who?"),
    ]
    assert turns_of([said("", "caption")]) == [Turn("assistant", "")]


def test_messages_from_elsewhere_are_understood():
    assert message_text({"role": "user", "content": "plain"}) == "plain"
    assert message_text({"role": "user", "content": []}) == ""
    assert message_text({"role": "user", "content": [{"type": "file", "file": {}}]}) == ""


def test_the_last_question_and_what_came_before():
    talk = [asked("One"), said("1"), asked("Two"), said("2")]
    assert last_question(talk) == (talk[:2], "Two")
    assert last_question([]) == ([], "")
    assert last_question([said("Hello")]) == ([said("Hello")], "")
