"""Files read a piece at a time, against the same bytes decoded at once."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt.errors import CorpusError
from trainers import text_file
from trainers.text_file import MAX_FILE_BYTES, TextFile, decode_pieces

LATER = b"a line of text\n" * 20  # 300 bytes, so several pieces of 64


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch) -> None:
    monkeypatch.setattr(text_file, "PIECE_BYTES", 64)


def read(data: bytes, piece_bytes: int = 64) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_file, "PIECE_BYTES", piece_bytes)
        return "".join(decode_pieces(io.BytesIO(data), "a.txt"))


def in_file(folder: Path, data: bytes) -> TextFile:
    (folder / "a.txt").write_bytes(data)
    return TextFile(folder / "a.txt")


# --- what is read -----------------------------------------------------------------------------


@settings(deadline=None)
@given(
    text=st.text(st.sampled_from("ab é€😀\r\n\u2028\ufeff"), min_size=2).filter(
        lambda text: len(text.strip()) > 1
    ),
    encoding=st.sampled_from(["utf-8-sig", "utf-8", "utf-16-le", "utf-16-be"]),
    piece_bytes=st.integers(1, 9),
)
def test_every_encoding_in_pieces_of_any_size(text: str, encoding: str, piece_bytes: int) -> None:
    bom = "\ufeff" if encoding.startswith("utf-16") else ""
    if encoding == "utf-8":
        text = text.lstrip("\ufeff") + "ab"  # a BOM is taken off
    assert read((bom + text).encode(encoding), piece_bytes) == text


units = st.lists(st.sampled_from([b"ab", b" ", "é".encode(), "€".encode(), "😀".encode(), b"\xff",
                                  b"\xe2\x82", b"\xf0\x9f", b"\x80", b"\xed\xa0\x80"]))  # fmt: skip
units_of_utf16 = st.lists(st.sampled_from([b"a\0", b" \0", b"\xac\x20", b"\x3d\xd8", b"\x00\xde"]))


@settings(deadline=None, max_examples=300)
@given(
    data=st.one_of(
        units.map(b"".join),
        st.tuples(units_of_utf16.map(b"".join), st.sampled_from([b"", b"a"])).map(
            lambda parts: b"\xff\xfe" + b"".join(parts)
        ),
    ),
    piece_bytes=st.integers(1, 9),
)
def test_bytes_are_refused_as_if_decoded_at_once(data: bytes, piece_bytes: int) -> None:
    encoding, start = ("utf-16-le", 2) if data.startswith(b"\xff\xfe") else ("utf-8", 0)
    try:
        expected = data[start:].decode(encoding)
    except UnicodeDecodeError as error:
        with pytest.raises(CorpusError, match=rf"\(byte {error.start + start} cannot be read"):
            read(data, piece_bytes)
        return
    if len(expected.strip()) < 2:
        with pytest.raises(CorpusError, match="holds"):
            read(data, piece_bytes)
    else:
        assert read(data, piece_bytes) == expected


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (LATER + b"\xff", r"a.txt is not UTF-8 \(byte 300 cannot"),
        (b"\xef\xbb\xbf" + LATER + b"\xe2\x82", r"a.txt is not UTF-8 \(byte 303 cannot"),
        (b"a\0" + LATER + b"\xff", r"a.txt is a binary file, not text\."),
        (LATER + b"\x01", r"a.txt is a binary file, not text\."),
        (b"\xff\xfe" + "ab😀".encode("utf-16-le")[:-2], r"a.txt is a binary .*byte 6 cannot"),
        (b"\xff\xfe" + "ab😀".encode("utf-16-le")[:-1], r"a.txt is a binary .*byte 6 cannot"),
        (b"\xff\xfe" + ("你" * 99 + "😀").encode("utf-16-le")[:-2],
         r"a.txt is not UTF-8 \(byte 200 cannot"),
        (b" \n" * 99, "a.txt holds no text"),
        (b" " * 99 + b"x" + b" " * 99, "a.txt holds a single character"),
    ],
)  # fmt: skip
def test_what_is_wrong_beyond_the_first_piece(data: bytes, words: str) -> None:
    with pytest.raises(CorpusError, match=words):
        read(data)


def test_two_characters_far_apart_are_a_text() -> None:
    text = " " * 99 + "x" + " " * 99 + "y"
    assert read(text.encode()) == text


# --- files ------------------------------------------------------------------------------------


def test_a_file_is_read_again_and_again_and_only_as_far_as_asked(tmp_path) -> None:
    file = in_file(tmp_path, LATER)
    assert len(file) == 5
    assert len(list(file)) == 5
    assert "".join(file) == LATER.decode()
    assert next(iter(file)) == LATER.decode()[:64]


def test_a_file_that_changes_between_two_readings_is_refused(tmp_path) -> None:
    file = in_file(tmp_path, LATER)
    assert "".join(file) == LATER.decode()
    (tmp_path / "a.txt").write_bytes(LATER + b"more")
    with pytest.raises(CorpusError, match=r"a\.txt has changed while it was read"):
        list(file)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path) -> None:
    with open(tmp_path / "a.txt", "wb") as file:
        os.truncate(file.fileno(), MAX_FILE_BYTES + 1)  # takes no room on the disk
    with pytest.raises(CorpusError, match=r"a\.txt is too large: at most 2,000,000,000 bytes"):
        TextFile(tmp_path / "a.txt")


def test_what_is_no_file(tmp_path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(CorpusError, match="cannot be read"):
            list(TextFile(path))
    file = in_file(tmp_path, LATER)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(CorpusError, match="cannot be read"):
        list(file)
