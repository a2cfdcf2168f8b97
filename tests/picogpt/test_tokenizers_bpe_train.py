"""Learning the merges of byte-level BPE, against a trainer that is slow and obvious."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import hypothesis
import pytest
import regex
from hypothesis import strategies as st

from picogpt.errors import TokenizerError
from picogpt.tokenizers import BPETokenizer, bpe_train, pretokenize

SPECIAL = ["<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"]
# As GPT-2's encoder.py has it.
GPT2_PATTERN = regex.compile(
    r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
)
SAMPLE = (
    "It's the best of times, it was the worst of times: we'll see 1234 things,\n\n"
    "    don't we?  naïve façade — Straße, привет мир, 你好世界, ありがとう 😀😀👩‍👩‍👧\t(end)\r\n"
) * 3

# Characters unassigned in Python's Unicode are letters to one library and nothing to another.
characters = st.characters(exclude_categories=["Cs", "Cn"])
any_text = st.text(characters, max_size=80)
# Text with much to merge, and with white space of all kinds.
likely_text = st.text(st.sampled_from("abc ABé1 2'st.!\n\t\r\u00a0\u3000你😀"), max_size=80)
few_letters = st.text(st.sampled_from("aab b"), max_size=60)


def given(*strategies):
    """hypothesis.given without its time limit for one example: the machine may be busy."""
    return lambda test: hypothesis.settings(deadline=None)(hypothesis.given(*strategies)(test))


@pytest.fixture(scope="module")
def tok() -> BPETokenizer:
    return BPETokenizer.train(SAMPLE, 380)


def slow_merges(texts: list[str], n_merges: int) -> list[tuple[int, int]]:
    """BPE as one would explain it: count everything, join the best pair, start over."""
    words = [list(word.encode()) for text in texts for word in GPT2_PATTERN.findall(text)]
    merges = []
    while len(merges) < n_merges:
        counts = Counter(pair for word in words for pair in pairwise(word))
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        words = [join(word, best, 256 + len(merges)) for word in words]
        merges.append(best)
    return merges


def join(word: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    out = []
    for id in word:
        # `out` ends in `left` only if that was not joined itself.
        if out and (out[-1], id) == pair:
            out[-1] = new_id
        else:
            out.append(id)
    return out


def train(text, n_merges: int) -> BPETokenizer:
    return BPETokenizer.train(text, 256 + n_merges, special_tokens=())


@given(st.one_of(few_letters, likely_text, any_text), st.integers(0, 40))
def test_merges_equal_those_of_the_slow_trainer(text, n_merges):
    assert train(text, n_merges).merges == slow_merges([text], n_merges)


@given(st.lists(likely_text, max_size=5))
def test_words_do_not_cross_from_one_text_to_the_next(texts):
    assert train(iter(texts), 30).merges == slow_merges(texts, 30)


def test_equal_counts_go_to_the_smallest_ids():
    assert train(" ba ba dc dc", 3).merges == [
        (ord(" "), ord("b")),
        (ord(" "), ord("d")),
        (256, 97),
    ]


def test_a_longer_text_trains_like_the_slow_trainer():
    rng = random.Random(7)
    words = ["".join(rng.choices("etaoin", k=rng.randint(1, 8))) for _ in range(200)]
    text = " ".join(rng.choices(words, k=2000))
    assert train(text, 60).merges == slow_merges([text], 60)


def test_ids_are_bytes_then_merges_then_special_tokens(tok):
    assert [tok.token_bytes(i) for i in range(256)] == [bytes([i]) for i in range(256)]
    assert tok.special_tokens == {name: 376 + i for i, name in enumerate(SPECIAL)}
    assert tok.vocab_size == 380 == 256 + len(tok.merges) + 4
    for place, (left, right) in enumerate(tok.merges):
        assert tok.token_bytes(256 + place) == tok.token_bytes(left) + tok.token_bytes(right)
    assert [tok.token_bytes(376 + i).decode() for i in range(4)] == SPECIAL
    assert tok.kind == "bpe"


def test_training_is_deterministic_and_blind_to_the_order_of_texts():
    lines = SAMPLE.splitlines(keepends=True)
    first = BPETokenizer.train(lines, 380).to_json()
    assert BPETokenizer.train(lines, 380).to_json() == first
    assert BPETokenizer.train(reversed(lines), 380).to_json() == first


def test_a_short_text_supports_fewer_merges():
    tok = BPETokenizer.train("abc abc", 1000)
    assert tok.vocab_size < 270
    assert tok.encode("abc") == [tok.encode(" abc")[0] - 1]
    assert BPETokenizer.train("", 1000).vocab_size == 260


def test_the_smallest_vocabulary_is_bytes_and_special_tokens():
    assert BPETokenizer.train(SAMPLE, 260).merges == []
    with pytest.raises(TokenizerError, match=r"vocab_size=259 .* at least 260"):
        BPETokenizer.train(SAMPLE, 259)
    assert BPETokenizer.train("hi", 256, special_tokens=()).encode("hi") == [104, 105]


@pytest.mark.parametrize("names", [["<a>", "<a>"], [""], ["x"], ["<é>"], ["a\nb"], "<|end|>"])
def test_badly_named_special_tokens_are_refused(names):
    with pytest.raises(TokenizerError, match="special"):
        BPETokenizer.train("text", 300, special_tokens=names)


def test_a_special_token_cannot_be_an_ordinary_word():
    with pytest.raises(TokenizerError, match="ordinary word"):
        BPETokenizer.train("hello hello hello", 300, special_tokens=["hello"])


def test_progress_counts_up_to_the_merges_asked_for():
    calls = []
    BPETokenizer.train(SAMPLE, 480, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1][1] == 220
    assert calls == sorted(calls)
    assert calls[0] == (bpe_train.PROGRESS_EVERY, 220)


def test_progress_can_end_the_training():
    def stop(done: int, total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        BPETokenizer.train(SAMPLE, 480, progress=stop)


def test_text_without_spaces_is_learned_from_in_pieces():
    counts = bpe_train.count_words(["ab" * bpe_train.MAX_WORD_BYTES])
    assert counts == {b"ab" * (bpe_train.MAX_WORD_BYTES // 2): 2}


@given(st.one_of(likely_text, any_text), st.integers(1, 20))
def test_words_are_gpt2s_wherever_the_text_is_cut(text, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretokenize, "_BLOCK_CHARS", block)
        words = [word for words in pretokenize.word_blocks(text) for word in words]
    assert words == GPT2_PATTERN.findall(text)
