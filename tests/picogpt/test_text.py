"""Text out of a stream of steps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from picogpt.text import with_text
from tests.fakes import byte_tokenizer, step

TOKENIZER = byte_tokenizer()
ids = st.lists(st.integers(0, TOKENIZER.vocab_size - 1), max_size=30)


def texts(ids: list[int]) -> list[str]:
    return [step.text for step in with_text(map(step, ids), TOKENIZER)]


@given(ids)
def test_the_texts_joined_are_the_decoded_whole(ids: list[int]) -> None:
    assert "".join(texts(ids)) == TOKENIZER.decode(ids, skip_special=True)


@given(ids)
def test_every_step_comes_out_once_and_in_order(ids: list[int]) -> None:
    assert [out.id for out in with_text(map(step, ids), TOKENIZER)] == ids


@given(st.text(st.characters(exclude_categories=["Cs"]).filter("\ufffd".__ne__), max_size=20))
def test_a_character_in_pieces_is_never_shown_broken(text: str) -> None:
    shown = texts(list(text.encode("utf-8")))  # ids 0 to 255 are the bytes
    assert "".join(shown) == text
    assert "\ufffd" not in "".join(shown)


def test_half_a_character_waits_for_the_rest() -> None:
    assert texts(list("aé😀".encode())) == ["a", "", "é", "", "", "", "😀"]


def test_a_stream_that_ends_in_half_a_character_shows_it_with_its_last_step() -> None:
    assert texts(list("a😀".encode())[:-1]) == ["a", "", "", "\ufffd"]
    assert texts([0xF0]) == ["\ufffd"]
    assert texts([]) == []


def test_special_tokens_have_no_text() -> None:
    end = TOKENIZER.special_tokens["<|end|>"]
    assert texts([97, end]) == ["a", ""]
    assert texts([0xC3, end]) == ["", "\ufffd"]


def test_whole_characters_are_not_held_back() -> None:
    read = []

    def source():
        for id in b"abc":
            read.append(id)
            yield step(id)

    for out in with_text(source(), TOKENIZER):
        assert read[-1] == out.id
