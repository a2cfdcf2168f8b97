"""Reading, checking, storing, splitting and batching of texts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picogpt.errors import CorpusError
from tests.trainers.small import make_text
from trainers import corpus as module
from trainers.corpus import (
    decode_text,
    find_corpus,
    import_text,
    list_corpora,
    make_corpus,
    read_text,
    training_batch,
    validation_blocks,
)

HELLO = "Grüße, 你好!\r\nnext"


@pytest.mark.parametrize(
    "data",
    [
        HELLO.encode("utf-8"),
        HELLO.encode("utf-8-sig"),
        b"\xff\xfe" + HELLO.encode("utf-16-le"),
        b"\xfe\xff" + HELLO.encode("utf-16-be"),
    ],
    ids=["utf-8", "bom", "utf-16-le", "utf-16-be"],
)
def test_encodings_that_are_read(data: bytes) -> None:
    assert decode_text(data, "a.txt") == HELLO  # CRLF kept, BOM gone


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no text"),
        (b"\xef\xbb\xbf", "no text"),
        (b" \n\t ", "no text"),
        (b"x\n", "a single character"),
        ("Grüße aus Köln".encode("latin-1"), "not UTF-8"),
        ("Grüße aus Köln".encode("utf-16-le"), "binary"),  # no BOM
        (b"\xff\xfea", "not UTF-8"),  # half a character of UTF-16
        (b"\x89PNG\r\n\x1a\n\x00\x00", "binary"),
        (b"text with a \x00 in it", "binary"),
    ],
)
def test_what_is_no_text(data: bytes, reason: str) -> None:
    with pytest.raises(CorpusError, match=reason) as caught:
        decode_text(data, "a.txt")
    assert "a.txt" in str(caught.value)


def test_too_large(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    assert len(decode_text(b"a" * 100, "a.txt")) == 100
    (tmp_path / "a.txt").write_bytes(b"a" * 101)
    with pytest.raises(CorpusError, match="at most 100 bytes"):
        read_text(tmp_path / "a.txt")


def test_missing_file(tmp_path) -> None:
    with pytest.raises(CorpusError, match="cannot be read"):
        read_text(tmp_path / "none.txt")


# --- uploads ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("My story.txt", "My-story.txt"),
        ("../../x.txt", "x.txt"),
        ("C:\\temp\\x.txt", "x.txt"),
        ("/etc/passwd.md", "passwd.md"),
        ("x.txt/", "x.txt"),
        ("...txt", "text.txt"),
        ("..\\..\\.hidden.TXT", "hidden.txt"),
        ("nul\x00.txt", "nul.txt"),
        ("Текст 1.txt", "Текст-1.txt"),
        ("a" * 300 + ".txt", "a" * 60 + ".txt"),
    ],
)
def test_import_keeps_to_its_folder(tmp_path, name: str, stored: str) -> None:
    path = import_text(HELLO.encode(), name, tmp_path)
    assert path == tmp_path / "uploads" / stored
    assert path.read_bytes() == HELLO.encode()
    assert find_corpus(path.stem, tmp_path) == path


@pytest.mark.parametrize("name", ["x.pdf", "x", "..", "", ".txt", "x.txt.exe"])
def test_import_refuses_other_names(tmp_path, name: str) -> None:
    with pytest.raises(CorpusError, match=r"\.txt or \.md"):
        import_text(b"abc", name, tmp_path)
    assert not (tmp_path / "uploads").exists()


def test_import_refuses_what_is_no_text(tmp_path) -> None:
    with pytest.raises(CorpusError, match="binary"):
        import_text(b"\x00\x01\x02", "x.txt", tmp_path)
    assert not (tmp_path / "uploads").exists()


def test_same_name_twice(tmp_path) -> None:
    first = import_text(b"one text", "a.txt", tmp_path)
    assert import_text(b"one text", "a.txt", tmp_path) == first
    other = import_text(b"another text", "a.txt", tmp_path)
    assert (first.name, other.name) == ("a.txt", "a-2.txt")
    assert (first.read_bytes(), other.read_bytes()) == (b"one text", b"another text")


def test_an_upload_never_takes_another_corpus_name(tmp_path) -> None:
    (tmp_path / "stories.txt").write_text("shipped", encoding="utf-8")
    names = ("stories.txt", "talk.txt", "a.md", "a.txt")
    paths = [import_text(b"mine", name, tmp_path) for name in names]
    assert [p.name for p in paths] == ["stories-2.txt", "talk-2.txt", "a.md", "a-2.txt"]
    assert all(find_corpus(path.stem, tmp_path) == path for path in paths)
    assert find_corpus("stories", tmp_path) == tmp_path / "stories.txt"


def test_list_corpora(tmp_path) -> None:
    assert list_corpora(tmp_path / "none") == {}
    for name in ("b.txt", "a.md", "README.md", "c.json"):
        (tmp_path / name).write_text("text", encoding="utf-8")
    (tmp_path / "folder.txt").mkdir()
    mine = import_text(b"my readme", "README.md", tmp_path)
    assert list(list_corpora(tmp_path)) == ["a", "b", "README"]
    assert list_corpora(tmp_path)["README"] == mine


def test_find_corpus(tmp_path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("text", encoding="utf-8")
    assert find_corpus("x", tmp_path) == path
    assert find_corpus(str(path), tmp_path / "none") == path
    with pytest.raises(CorpusError, match=r"no corpus 'y'.*There are: x"):
        find_corpus("y", tmp_path)


# --- ids --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_make_corpus_round_trip(kind: str) -> None:
    text = make_text()
    corpus = make_corpus("t", text, kind, 300, 16)
    cut = int(0.9 * len(text))
    head, tail = text[:cut], text[cut:]
    assert corpus.train.dtype == corpus.val.dtype == np.uint16
    assert corpus.tokenizer.decode(corpus.train.tolist()) == head
    assert corpus.tokenizer.decode(corpus.val.tolist()) == tail
    assert corpus.token_bytes[corpus.val].sum() == len(tail.encode())
    assert corpus.characters == len(text)


def test_char_vocabulary_holds_printable_ascii() -> None:
    corpus = make_corpus("t", "ä" * 400, "char", 300, 16)
    typed = "".join(map(chr, range(32, 127))) + "\n"
    assert corpus.tokenizer.decode(corpus.tokenizer.encode(typed)) == typed


def test_too_short_for_the_context() -> None:
    make_corpus("t", "a" * 170, "char", 300, 16)  # 153 and 17 characters: a block and a token
    with pytest.raises(CorpusError, match=r"144 tokens to train on and 16 to check with.*17"):
        make_corpus("t", "a" * 160, "char", 300, 16)


def test_more_characters_than_ids(monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_IDS", 90)
    with pytest.raises(CorpusError, match="at most 90"):
        make_corpus("t", "ab" * 100, "char", 300, 16)


@given(
    length=st.integers(20, 200), batch=st.integers(1, 9), block=st.integers(1, 19),
    seed=st.integers(0, 5),
)  # fmt: skip
def test_an_epoch_reads_every_block_once(length: int, batch: int, block: int, seed: int) -> None:
    ids = np.arange(length, dtype=np.uint16)  # an id says where it stands
    per_epoch = (length - 1) // block
    starts = []
    for step in range(-(-3 * per_epoch // batch)):
        inputs, targets = training_batch(ids, step, batch, block, seed)
        assert inputs.shape == targets.shape == (batch, block)
        assert (targets == inputs + 1).all()
        starts += inputs[:, 0].tolist()
    for epoch in range(3):
        seen = sorted(starts[epoch * per_epoch : (epoch + 1) * per_epoch])
        assert np.diff(seen).tolist() == [block] * (per_epoch - 1)  # side by side, none twice
        assert seen[-1] + block < length


def test_a_batch_is_a_function_of_step_and_seed() -> None:
    ids = np.arange(1000, dtype=np.uint16)
    first, again = (training_batch(ids, 7, 4, 16, seed=1)[0] for _ in range(2))
    assert (first == again).all()
    assert (first != training_batch(ids, 8, 4, 16, seed=1)[0]).any()
    assert (first != training_batch(ids, 7, 4, 16, seed=2)[0]).any()


def test_batches_that_begin_at_given_places() -> None:
    ids, starts = np.arange(300, dtype=np.uint16), np.array([0, 11, 50, 283])
    rows = [training_batch(ids, step, 2, 16, 1, starts)[0][:, 0] for step in range(4)]
    assert sorted(np.concatenate(rows[:2])) == sorted(np.concatenate(rows[2:])) == [0, 11, 50, 283]


def test_validation_blocks() -> None:
    ids = np.arange(100, dtype=np.uint16)
    inputs, targets = validation_blocks(ids, 9)
    assert inputs.shape == (11, 9)  # 99 pairs
    assert (inputs.ravel() == np.arange(99)).all()
    assert (targets == inputs + 1).all()
    assert len(validation_blocks(ids[:99], 9)[0]) == 10  # the last block lacks a target


def test_thinned_validation_blocks_cover_the_text() -> None:
    inputs, _ = validation_blocks(np.arange(1000, dtype=np.uint16), 10, max_tokens=55)
    assert len(inputs) == 5
    assert inputs[0, 0] == 0
    assert inputs[-1, 0] == 980
    assert len(np.unique(inputs)) == 50
    assert len(validation_blocks(np.arange(100, dtype=np.uint16), 10, max_tokens=1)[0]) == 1
