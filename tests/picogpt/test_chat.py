"""Conversations: turns to ids, and a session that keeps its context."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picogpt import BPETokenizer, CharTokenizer, ChatSession, Engine, SamplingConfig, Turn
from picogpt.chat import SPECIAL_TOKENS, render, stop_ids, turn_ids
from picogpt.errors import ConfigError, PromptError
from tests.fakes import byte_tokenizer, tiny_model

TOKENIZER = byte_tokenizer()
USER, ASSISTANT, END, _ = (TOKENIZER.special_tokens[name] for name in SPECIAL_TOKENS)
LIVELY = SamplingConfig(temperature=1.5, seed=5)

typed = st.lists(st.sampled_from([*SPECIAL_TOKENS, "<|", "|>", "a", " é", "😀"])).map("".join)


def conversation(texts: list[str]) -> list[Turn]:
    """User and assistant in turn, the user first."""
    return [Turn(("user", "assistant")[i % 2], text) for i, text in enumerate(texts)]


def by_hand(turns: list[Turn]) -> list[int]:
    ids = []
    for turn in turns:
        mark = {"user": USER, "assistant": ASSISTANT}[turn.role]
        ids += [mark, *TOKENIZER.encode(turn.text), END]
    return ids


def session(block_size: int = 64, max_new_tokens: int = 12) -> ChatSession:
    model = tiny_model(block_size=block_size, vocab_size=TOKENIZER.vocab_size)
    return ChatSession(Engine(model), TOKENIZER, LIVELY, max_new_tokens)


# --- render -----------------------------------------------------------------------------------


def test_a_conversation_is_marked_turn_by_turn_and_ends_with_the_assistants_mark() -> None:
    turns = conversation(["Hi", "Hello there!", "the cat?"])
    rendered = render(turns, TOKENIZER, block_size=256)
    assert rendered.ids == [*by_hand(turns), ASSISTANT]
    assert (rendered.dropped_turns, rendered.cut_tokens) == (0, 0)


@given(
    st.lists(st.text("ab é", max_size=12), min_size=1, max_size=9).filter(lambda x: len(x) % 2),
    st.integers(8, 120),
    st.integers(0, 80),
)
def test_the_longest_run_of_newest_turns_that_fits_stays_whole(
    texts: list[str], block_size: int, reserve: int
) -> None:
    turns = conversation(texts)
    rendered = render(turns, TOKENIZER, block_size, reserve)
    room = block_size - min(reserve, block_size // 2)
    assert len(rendered.ids) <= room
    fitting = [start for start in range(0, len(turns), 2) if len(by_hand(turns[start:])) < room]
    if fitting:
        assert rendered.ids == [*by_hand(turns[fitting[0] :]), ASSISTANT]
        assert (rendered.dropped_turns, rendered.cut_tokens) == (fitting[0], 0)
    else:
        text = TOKENIZER.encode(turns[-1].text)
        newest = text[len(text) - (room - 3) :]
        assert rendered.ids == [USER, *newest, END, ASSISTANT]
        assert rendered.dropped_turns == len(turns) - 1
        assert rendered.cut_tokens == len(text) - len(newest) > 0


@given(typed)
def test_what_a_person_types_never_becomes_a_special_id(text: str) -> None:
    special = set(TOKENIZER.special_tokens.values())
    ids = turn_ids(Turn("user", text), TOKENIZER)
    assert (ids[0], ids[-1]) == (USER, END) and not special & set(ids[1:-1])
    assert TOKENIZER.decode(ids[1:-1]) == text
    assert sum(i in special for i in render([Turn("user", text)], TOKENIZER, 10_000).ids) == 3


@pytest.mark.parametrize("turns", [[], conversation(["a", "b"])])
def test_there_must_be_a_message_to_answer(turns: list[Turn]) -> None:
    with pytest.raises(PromptError, match="no message to answer"):
        render(turns, TOKENIZER, 64)


@pytest.mark.parametrize(
    "tokenizer", [CharTokenizer.train("abc"), BPETokenizer.train("abc", 257, ["<|endoftext|>"])]
)
def test_a_tokenizer_without_marks_for_turns_is_refused(
    tokenizer: CharTokenizer | BPETokenizer,
) -> None:
    with pytest.raises(ConfigError, match="not trained on conversations"):
        render([Turn("user", "a")], tokenizer, 64)
    with pytest.raises(ConfigError, match="not trained on conversations"):
        ChatSession(Engine(tiny_model()), tokenizer)


def test_a_reply_ends_where_a_turn_or_a_text_ends() -> None:
    special = TOKENIZER.special_tokens
    assert set(stop_ids(TOKENIZER)) == {END, USER, special["<|endoftext|>"]}
    assert stop_ids(CharTokenizer.train("abc")) == ()


# --- sessions ---------------------------------------------------------------------------------


def test_a_session_keeps_its_context() -> None:
    chat = session()
    first = chat.reply("Hi")
    assert chat.turns == [Turn("user", "Hi"), Turn("assistant", first)]
    second = chat.reply("the cat?")
    assert [turn.text for turn in chat.turns] == ["Hi", first, "the cat?", second]
    prompt = render(chat.turns[:3], TOKENIZER, 64, 12).ids
    steps = chat.engine.stream(prompt, LIVELY, 12, stop_ids(TOKENIZER))
    assert second == TOKENIZER.decode([step.id for step in steps], skip_special=True)


def test_a_reply_is_the_text_of_its_steps() -> None:
    one, two = session(), session()
    assert one.reply("Hi") == "".join(step.text for step in two.stream("Hi")) != ""
    assert one.turns == two.turns


def test_undo_takes_back_one_exchange_and_gives_its_message() -> None:
    chat = session()
    assert chat.undo() is None
    chat.reply("one"), chat.reply("two")
    kept = chat.turns[:2]
    assert chat.undo() == "two" and chat.turns == kept
    assert chat.undo() == "one" and chat.turns == [] and chat.undo() is None


def test_undo_and_the_same_message_give_the_same_seeded_reply() -> None:
    chat = session()
    chat.reply("one")
    again = chat.reply("two")
    chat.undo()
    assert chat.reply("two") == again


def test_reset_forgets_everything() -> None:
    chat = session()
    first = chat.reply("Hi")
    chat.reset()
    assert chat.turns == [] and chat.reply("Hi") == first


def test_a_reply_that_is_stopped_or_abandoned_keeps_what_was_said() -> None:
    chat, stop = session(), threading.Event()
    assert len(list(session().stream("Hi"))) > 3
    said = []
    for step in chat.stream("Hi", stop):
        said.append(step.text)
        stop.set()
    assert len(said) <= 2  # one more when half a character was held back
    said = "".join(said)
    assert chat.turns == [Turn("user", "Hi"), Turn("assistant", said)]
    steps = chat.stream("more")
    said = next(steps).text
    steps.close()
    assert chat.turns[2:] == [Turn("user", "more"), Turn("assistant", said)]


@pytest.mark.parametrize("message", ["", " \n\t"])
def test_an_empty_message_is_refused_at_once_and_leaves_no_turn(message: str) -> None:
    chat = session()
    with pytest.raises(PromptError, match="message is empty"):
        chat.stream(message)
    assert chat.turns == []


def test_a_long_conversation_stays_within_the_context() -> None:
    chat = session(block_size=32, max_new_tokens=8)
    for text in ["the dog", "sat by the door " * 9, "Hello"]:
        steps = list(chat.stream(text))
        assert [step.dropped for step in steps] == [0] * len(steps)
        assert all(step.position < 32 for step in steps)
    assert len(chat.turns) == 6
