"""Texts that are gone through in pieces, against the same texts as one string."""

from __future__ import annotations

import hashlib
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt.errors import CorpusError
from picogpt.tokenizers import BPETokenizer, CharTokenizer, pretokenize
from picogpt.tokenizers.bpe_train import count_words
from tests.trainers.small import config, make_text
from trainers import big_text, corpus, load_corpus, text_file
from trainers.big_text import PRINTABLE, BigText
from trainers.corpus import make_corpus
from trainers.text_file import TextFile

PHASES = {
    "char": ["reading the text", "collecting characters", "encoding"],
    "bpe": ["reading the text", "counting words", "learning merges", "encoding"],
}


@pytest.fixture
def small_pieces(monkeypatch) -> None:
    """Hundreds of pieces a text, each of them reported."""
    monkeypatch.setattr(text_file, "PIECE_BYTES", 97)
    monkeypatch.setattr(pretokenize, "_BLOCK_CHARS", 61)
    monkeypatch.setattr(big_text, "PROGRESS_SECONDS", 0)


@pytest.fixture
def file(tmp_path) -> TextFile:
    (tmp_path / "a.txt").write_text(make_text(), encoding="utf-8", newline="")
    return TextFile(tmp_path / "a.txt")


# --- the same as one string -------------------------------------------------------------------


@settings(deadline=None)
@given(
    text=st.text(
        st.one_of(
            st.sampled_from("abc ABé1 2'st.!\n\t\r\u00a0你😀"),
            st.characters(exclude_categories=["Cs", "Cc"]),
        ),
        min_size=20,
    ).map(lambda text: "ab" + text),
    kind=st.sampled_from(["char", "bpe"]),
    piece_bytes=st.integers(1, 30),
    block=st.integers(1, 30),
)
def test_pieces_give_what_the_whole_text_gives(
    tmp_path_factory, text: str, kind: str, piece_bytes: int, block: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "pieces.txt"
    path.write_text(text, encoding="utf-8", newline="")
    cut = int(0.9 * len(text))
    if kind == "char":
        tokenizer = CharTokenizer.train(text + PRINTABLE)
    else:
        tokenizer = BPETokenizer.train(text[:cut], 300)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_file, "PIECE_BYTES", piece_bytes)
        patch.setattr(pretokenize, "_BLOCK_CHARS", block)
        made = make_corpus("t", TextFile(path), kind, 300, 1)
    assert made.tokenizer.to_json() == tokenizer.to_json()
    assert made.train.tolist() == tokenizer.encode(text[:cut])
    assert made.val.tolist() == tokenizer.encode(text[cut:])
    assert made.train.dtype == made.val.dtype == np.uint16
    assert made.characters == len(text)
    assert made.sha256 == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(("length", "cut"), [(10, 9), (19, 17), (100, 90), (101, 90), (7, 6)])
def test_split(length: int, cut: int) -> None:
    text = BigText("x" * length)
    assert (text.characters, text.cut) == (length, cut)


def test_a_file_may_be_larger_than_an_upload(tmp_path, file, monkeypatch) -> None:
    monkeypatch.setattr(corpus, "MAX_BYTES", 100)
    made = load_corpus(config(corpus=str(file.path)), tmp_path)
    assert made.characters == len(make_text()) > 100


def test_memory_does_not_grow_with_the_text(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(text_file, "PIECE_BYTES", 1 << 14)
    monkeypatch.setattr(pretokenize, "_BLOCK_CHARS", 1 << 14)
    line = "to be or not to be, that is the question\n"
    (tmp_path / "a.txt").write_text(line * 50_000, encoding="utf-8")  # 2 MB
    tracemalloc.start()
    try:
        text = BigText(TextFile(tmp_path / "a.txt"))
        count_words(text.part("counting words", 0, text.cut, text.cut))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


# --- progress ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PHASES)
def test_progress_grows_to_the_total_of_each_phase(file, small_pieces, kind: str) -> None:
    calls: list[tuple[str, int, int]] = []
    make_corpus("t", file, kind, 300, 16, progress=lambda *call: calls.append(call))
    assert list(dict.fromkeys(phase for phase, _, _ in calls)) == PHASES[kind]
    for phase in PHASES[kind]:
        done = [call[1] for call in calls if call[0] == phase]
        assert len(done) > 30
        assert all(before <= after for before, after in pairwise(done))
        assert {call[2] for call in calls if call[0] == phase} == {done[-1]}


def test_progress_is_told_seldom(file, small_pieces, monkeypatch) -> None:
    monkeypatch.setattr(big_text, "PROGRESS_SECONDS", 1e9)
    monkeypatch.setattr(big_text.time, "monotonic", lambda: 1.0)
    calls: list[tuple[str, int, int]] = []
    make_corpus("t", file, "bpe", 300, 16, progress=lambda *call: calls.append(call))
    assert [phase for phase, _, _ in calls] == PHASES["bpe"]
    assert all(done == total for _, done, total in calls)


@pytest.mark.parametrize(("kind", "phase"), [(k, p) for k, ps in PHASES.items() for p in ps])
def test_what_progress_raises_ends_the_work(file, small_pieces, kind: str, phase: str) -> None:
    calls = []

    def stop(now: str, done: int, total: int) -> None:
        calls.append(now)
        if now == phase and done > total // 2:
            raise InterruptedError  # an OSError, but none of the file's

    with pytest.raises(InterruptedError):
        make_corpus("t", file, kind, 300, 16, progress=stop)
    assert calls[-1] == phase


def test_a_text_that_changes_on_the_way_is_refused(file) -> None:
    def change(phase: str, done: int, total: int) -> None:
        if phase == "learning merges":
            file.path.write_text("something else", encoding="utf-8")

    with pytest.raises(CorpusError, match=r"a\.txt has changed"):
        make_corpus("t", file, "bpe", 300, 16, progress=change)
