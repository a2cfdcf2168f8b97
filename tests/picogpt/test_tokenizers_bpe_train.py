"""Learning the merges of byte-level BPE, against a trainer that is slow and obvious."""

from __future__ import annotations

import random
from collections import Counter
from itertools import accumulate, pairwise

import hypothesis
import pytest
import regex
from hypothesis import strategies as st

from picogpt.errors import TokenizerError
from picogpt.tokenizers import BPETokenizer, bpe_train, pretokenize
from picogpt.tokenizers.bpe_train import count_words, learn_merges

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
# Text in which the next character or two decide where a word ends.
tricky_text = st.lists(
    st.sampled_from(["'ll", "'ve", "'s", "'", "l", "v", "a", "é", "1", "!", " ", "  ", "\n"])
).map("".join)
few_letters = st.text(st.sampled_from("aab b"), max_size=60)


def given(*strategies):
    """hypothesis.given without its time limit for one example: the machine may be busy."""
    return lambda test: hypothesis.settings(deadline=None)(hypothesis.given(*strategies)(test))


@pytest.fixture(scope="module")
def tok() -> BPETokenizer:
    return BPETokenizer.train(SAMPLE, 380)


def cut_up(text: str, sizes: list[int]) -> list[str]:
    """The text in pieces of these sizes; the last is what remains."""
    ends = [0, *accumulate(sizes), len(text)]
    return [text[start:end] for start, end in pairwise(ends)]


def slow_merges(text: str, n_merges: int) -> list[tuple[int, int]]:
    """BPE as one would explain it: count everything, join the best pair, start over."""
    words = [list(word.encode()) for word in GPT2_PATTERN.findall(text)]
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
    assert train(text, n_merges).merges == slow_merges(text, n_merges)


@given(st.one_of(likely_text, any_text), st.lists(st.integers(0, 9)), st.integers(1, 20))
def test_pieces_train_like_the_whole_text(text, sizes, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretokenize, "_BLOCK_CHARS", block)
        assert train(iter(cut_up(text, sizes)), 30).merges == slow_merges(text, 30)


def test_an_open_file_trains_like_its_text(tmp_path):
    path = tmp_path / "sample.txt"
    path.write_text(SAMPLE, encoding="utf-8", newline="")
    with open(path, encoding="utf-8", newline="") as lines:
        assert train(lines, 60).merges == slow_merges(SAMPLE, 60)


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
    assert train(text, 60).merges == slow_merges(text, 60)


def test_ids_are_bytes_then_merges_then_special_tokens(tok):
    assert [tok.token_bytes(i) for i in range(256)] == [bytes([i]) for i in range(256)]
    assert tok.special_tokens == {name: 376 + i for i, name in enumerate(SPECIAL)}
    assert tok.vocab_size == 380 == 256 + len(tok.merges) + 4
    for place, (left, right) in enumerate(tok.merges):
        assert tok.token_bytes(256 + place) == tok.token_bytes(left) + tok.token_bytes(right)
    assert [tok.token_bytes(376 + i).decode() for i in range(4)] == SPECIAL
    assert tok.kind == "bpe"


def test_training_is_deterministic_and_blind_to_the_order_of_words():
    assert BPETokenizer.train(SAMPLE, 380).to_json() == BPETokenizer.train(SAMPLE, 380).to_json()
    counts = count_words([SAMPLE])
    backwards = dict(reversed(counts.items()))
    assert list(backwards) != list(counts)
    assert learn_merges(backwards, 120) == learn_merges(counts, 120)


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
    learned = len(train(SAMPLE, 220).merges)
    assert calls == [(done, 220) for done in range(1, learned + 1)]


def test_progress_can_end_the_training():
    def stop(done: int, total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        BPETokenizer.train(SAMPLE, 480, progress=stop)


def test_text_without_spaces_is_learned_from_in_pieces():
    half = "ab" * (bpe_train.MAX_WORD_CHARS // 2)
    assert count_words([half, half + "a"]) == {half: 2, "a": 1}


# --- words ---


@given(
    st.one_of(tricky_text, likely_text, any_text),
    st.lists(st.integers(0, 9)),
    st.integers(1, 20),
)
def test_words_are_gpt2s_wherever_the_text_is_cut(text, sizes, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretokenize, "_BLOCK_CHARS", block)
        blocks = list(pretokenize.word_blocks(cut_up(text, sizes)))
        assert blocks == list(pretokenize.word_blocks([text]))
    assert [word for words in blocks for word in words] == GPT2_PATTERN.findall(text)


@given(
    st.text(st.sampled_from("aa11!!'s\n\n  "), max_size=60), st.integers(1, 4), st.integers(1, 9)
)
def test_long_words_are_cut_wherever_the_text_is_cut(text, longest, block):
    pattern = pretokenize.word_pattern(longest)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretokenize, "_BLOCK_CHARS", block)
        patch.setattr(pretokenize, "WORD", pattern)
        words = [word for words in pretokenize.word_blocks([text]) for word in words]
    assert words == pattern.findall(text)
    assert "".join(words) == text
    assert all(len(word) <= longest + 1 for word in words)  # with the space before it


def test_text_without_borders_is_cut_and_not_held():
    longest = pretokenize.LONGEST_WORD
    endless = ("a" * (longest // 2 - 1) for _ in range(5))
    lengths = [[len(word) for word in words] for words in pretokenize.word_blocks(endless)]
    assert [length for block in lengths for length in block] == [longest, longest, longest // 2 - 5]
    assert max(sum(block) for block in lengths) <= longest


# --- many different words ---


def many_words(seed: int) -> str:
    """Two frequent words among a thousand that occur once."""
    dice = random.Random(seed)
    rare = [f" {''.join(dice.choices('etaoin', k=9))}" for _ in range(1000)]
    words = rare + [" often"] * 200 + [" seldom"] * 100
    dice.shuffle(words)
    return "".join(words)


def test_the_table_of_words_is_bounded(monkeypatch):
    monkeypatch.setattr(pretokenize, "_BLOCK_CHARS", 100)  # 20 words or so
    text = many_words(seed=1)
    whole = count_words([text])
    monkeypatch.setattr(bpe_train, "MAX_WORDS", 60)
    bounded = count_words([text])
    assert len(whole) > 1000
    assert len(bounded) <= 60
    for word in (" often", " seldom"):
        assert bounded[word] == whole[word]
    assert all(bounded[word] <= whole[word] for word in bounded)


@given(st.integers(0, 99), st.lists(st.integers(0, 500), max_size=9))
def test_the_bounded_table_does_not_depend_on_the_pieces(seed, sizes):
    text = many_words(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretokenize, "_BLOCK_CHARS", 100)
        patch.setattr(bpe_train, "MAX_WORDS", 60)
        whole, pieces = count_words([text]), count_words(cut_up(text, sizes))
    assert list(pieces.items()) == list(whole.items())
