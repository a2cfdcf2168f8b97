"""Byte-level BPE: encoding, decoding and streaming, against the `tokenizers` library."""

from __future__ import annotations

import json

import hypothesis
import pytest
import tokenizers
from hypothesis import strategies as st

from picogpt.errors import TokenizerError
from picogpt.tokenizers import BPETokenizer, bpe, pretokenize

SPECIAL = ["<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"]
SAMPLE = (
    "It's the best of times, it was the worst of times: we'll see 1234 things,\n\n"
    "    don't we?  naïve façade — Straße, привет мир, 你好世界, ありがとう 😀😀👩‍👩‍👧\t(end)\r\n"
) * 3

# Characters unassigned in Python's Unicode are letters to one library and nothing to another.
characters = st.characters(exclude_categories=["Cs", "Cn"])
any_text = st.text(characters, max_size=80)
# Text with much to merge, and with white space of all kinds.
likely_text = st.text(st.sampled_from("abc ABé1 2'st.!\n\t\r\u00a0\u3000你😀"), max_size=80)


def given(*strategies):
    """hypothesis.given without its time limit for one example: the machine may be busy."""
    return lambda test: hypothesis.settings(deadline=None)(hypothesis.given(*strategies)(test))


@pytest.fixture(scope="module")
def tok() -> BPETokenizer:
    return BPETokenizer.train(SAMPLE, 380)


@pytest.fixture(scope="module")
def library(tok) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_str(json.dumps(tok.to_json()))


def train(text, n_merges: int) -> BPETokenizer:
    return BPETokenizer.train(text, 256 + n_merges, special_tokens=())


@given(st.one_of(any_text, likely_text))
def test_round_trip(tok, text):
    ids = tok.encode(text)
    assert tok.decode(ids) == text
    assert tok.decode(ids, skip_special=True) == text
    assert b"".join(tok.token_bytes(i) for i in ids) == text.encode()
    assert sum(tok.byte_lengths()[i] for i in ids) == len(text.encode())


@given(st.one_of(any_text, likely_text))
def test_the_tokenizers_library_gives_the_same_ids(tok, library, text):
    # The library does find special tokens in typed text.
    hypothesis.assume(not any(name in text for name in SPECIAL))
    assert tok.encode(text) == library.encode(text).ids


@given(likely_text)
def test_the_library_agrees_on_a_vocabulary_of_the_text_itself(text):
    tok = train(text, 50)
    library = tokenizers.Tokenizer.from_str(json.dumps(tok.to_json()))
    assert tok.encode(text) == library.encode(text).ids


@given(st.lists(st.integers(0, 379), max_size=30), st.booleans())
def test_the_library_decodes_any_ids_alike(tok, library, ids, skip):
    assert tok.decode(ids, skip_special=skip) == library.decode(ids, skip_special_tokens=skip)


@given(st.text(st.sampled_from("abcst'é你"), min_size=65, max_size=300), st.integers(0, 60))
def test_long_words_merge_like_short_ones(text, n_merges):
    tok = train(text, n_merges)
    ids = list(text.encode())
    assert tok._merge_long(list(ids)) == tok._merge(list(ids))


def test_a_very_long_word_takes_no_quadratic_time(tok):
    text = "times" * 40_000  # minutes, if every merge went over the whole word
    assert tok.decode(tok.encode(text)) == text


@given(st.lists(st.one_of(any_text, likely_text)), st.integers(1, 30))
def test_a_text_in_pieces_gives_the_ids_of_the_whole(tok, pieces, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretokenize, "_BLOCK_CHARS", block)
        ids = [id for some in tok.encode_pieces(iter(pieces)) for id in some]
    assert ids == tok.encode("".join(pieces))


def test_a_text_is_encoded_while_it_comes_in(tok, monkeypatch):
    monkeypatch.setattr(pretokenize, "_BLOCK_CHARS", 10)
    asked = []
    pieces = (asked.append(number) or "a few words " for number in range(100))
    next(tok.encode_pieces(pieces))
    assert asked == [0]


def test_the_cache_is_bounded(tok, monkeypatch):
    monkeypatch.setattr(bpe, "CACHE_WORDS", 10)
    words = [f" {word}" for word in ("the", "best", "of", "times")] + [f"x{i}" for i in range(50)]
    fresh = BPETokenizer.from_json(tok.to_json())
    assert [fresh.encode(word) for word in words] == [tok.encode(word) for word in words]
    assert 0 < len(fresh._cache) <= 10


def test_ids_given_out_are_the_callers_own(tok):
    first = tok.encode("times")
    first.append(0)
    assert tok.encode("times") == first[:-1]


@given(st.lists(st.one_of(st.sampled_from(SPECIAL), likely_text), max_size=6).map("".join))
def test_typed_text_never_gives_a_special_id(tok, text):
    ids = tok.encode(text)
    assert not set(ids) & set(tok.special_tokens.values())
    assert tok.decode(ids, skip_special=True) == text


def test_special_tokens_seen_in_training_text_stay_characters():
    text = "".join(SPECIAL) * 50
    tok = BPETokenizer.train(text, 400)
    assert not set(tok.encode(text)) & set(tok.special_tokens.values())


def test_special_ids_decode_to_their_names_or_not_at_all(tok):
    special = tok.special_tokens
    ids = [special["<|user|>"], *tok.encode("hi"), special["<|end|>"]]
    assert tok.decode(ids) == "<|user|>hi<|end|>"
    assert tok.decode(ids, skip_special=True) == "hi"
    assert tok.token_text(special["<|end|>"]) == "<|end|>"
    assert [tok.byte_lengths()[i] for i in special.values()] == [0, 0, 0, 0]


def test_half_characters_show_as_replacement_characters(tok):
    assert tok.token_text(0xC3) == "\ufffd"
    assert tok.decode([0xC3]) == "\ufffd"
    assert tok.decode([0xC3, 0xA9]) == "é"
    assert tok.decode(tok.encode("a\ud800b")) == "a\ufffdb"
    assert tok.decode(tok.encode("\ud83d\ude00")) == "😀"


@pytest.mark.parametrize("id", [-1, 380, 2**40])
def test_an_unknown_id_is_refused(tok, id):
    with pytest.raises(TokenizerError, match=str(id)):
        tok.decode([65, id])
    with pytest.raises(TokenizerError, match=str(id)):
        tok.stream_decoder().push(id)


# --- streaming ---


@given(any_text)
def test_a_stream_of_valid_text_shows_only_whole_characters(tok, text):
    decoder = tok.stream_decoder()
    shown = ""
    # An id below 256 is a byte.
    for id in text.encode():  # byte by byte: the hardest split
        shown += decoder.push(id)
        assert text.startswith(shown)
    assert shown == text
    assert not decoder.pending
    assert decoder.flush() == ""


@given(st.lists(st.integers(0, 379), max_size=30))
def test_a_stream_of_any_ids_ends_up_as_decoded(tok, ids):
    decoder = tok.stream_decoder()
    pushed = "".join([decoder.push(id) for id in ids])
    pending = decoder.pending
    rest = decoder.flush()
    assert pushed + rest == tok.decode(ids, skip_special=True)
    assert pending == bool(rest)


def test_half_a_character_is_pending_until_it_is_whole(tok):
    decoder = tok.stream_decoder()
    euro = "€".encode()
    assert [decoder.push(byte) for byte in euro[:2]] == ["", ""]
    assert decoder.pending
    assert decoder.push(tok.special_tokens["<|end|>"]) == ""
    assert decoder.push(euro[2]) == "€"
    assert not decoder.pending
