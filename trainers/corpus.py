"""From a file to token ids: read, check, store, split, encode.

Formats: a corpus is a `.txt` or `.md` file in UTF-8 (with or without BOM) or UTF-16 (with BOM);
line ends stay as they are. Its ids are kept in memory as uint16.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from picogpt.errors import CorpusError
from picogpt.files import write_file
from picogpt.tokenizers import BPETokenizer, CharTokenizer, Tokenizer

CORPORA = Path("corpora")
UPLOADS = "uploads"
SUFFIXES = (".txt", ".md")
RESERVED = ("talk",)
"""Names of corpora that are made and not read; see `trainers/talk.py`."""
MAX_BYTES = 10_000_000
"""Largest text that can be uploaded, in bytes."""
TRAIN_SHARE = 0.9
"""The first `int(0.9 * len(text))` characters train; the rest is held out."""
PRINTABLE = "\n" + "".join(map(chr, range(32, 127)))
"""Characters that every char vocabulary holds, so that ordinary typing can be encoded."""
MAX_IDS = 65_536
"""Largest vocabulary whose ids fit uint16."""

_BOMS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_IMPORTING = threading.Lock()  # two people may upload under one name at one moment
_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def decode_text(data: bytes, name: str) -> str:
    """The text in `data`, with CRLF kept and a BOM taken off.

    Args:
        data: the bytes of a file.
        name: how to call it in an error.

    Raises:
        CorpusError: empty, too large, binary, or neither UTF-8 nor UTF-16 with BOM.
    """
    if len(data) > MAX_BYTES:
        raise CorpusError(
            f"{name} is too large: at most {MAX_BYTES:,} bytes can be read. Use a part of it."
        )
    encoding, start = next(
        ((encoding, len(bom)) for bom, encoding in _BOMS.items() if data.startswith(bom)),
        ("utf-8", 0),
    )
    try:
        text = data[start:].decode(encoding)
    except UnicodeDecodeError as error:
        kind = "a binary file" if b"\x00" in data[:4096] else "not UTF-8"
        raise CorpusError(
            f"{name} is {kind} (byte {error.start + start:,} cannot be read as text). "
            "Save it as plain text in UTF-8."
        ) from error
    if _CONTROL.search(text):
        raise CorpusError(f"{name} is a binary file, not text. Save it as plain text in UTF-8.")
    if len(text.strip()) < 2:
        held = "a single character" if text.strip() else "no text"
        raise CorpusError(f"{name} holds {held}. Use a text of some thousands of characters.")
    return text


def read_text(path: str | Path) -> str:
    """Read a text file from disk; see `decode_text`.

    Raises:
        CorpusError: there is no such file, or it is not a text we can read.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)  # enough to see that it is too large
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}.") from error
    return decode_text(data, path.name)


def import_text(data: bytes, name: str, corpora: str | Path = CORPORA) -> Path:
    """Check an uploaded text and store it, as it came, under `corpora/uploads/`.

    Args:
        data: the bytes that were uploaded.
        name: the file's name; everything but its last part is ignored.
        corpora: the folder of all corpora.

    Returns:
        Where it is; its stem is a name that `list_corpora` has for this file and no other. The
        same text under the same name is stored once; another text gets a number.

    Raises:
        CorpusError: the wrong kind of name, or not a text we can read.
    """
    base = Path(name.replace("\\", "/")).name
    if Path(base).suffix.lower() not in SUFFIXES:
        raise CorpusError(f"{base or 'The file'} is not a .txt or .md file. Save it as one.")
    decode_text(data, base)
    stem = re.sub(r"[^\w-]+", "-", Path(base).stem).strip("-")[:60] or "text"
    folder = Path(corpora) / UPLOADS
    folder.mkdir(parents=True, exist_ok=True)
    with _IMPORTING:
        known = list_corpora(corpora)
        for number in range(1, 10_000):
            own = stem if number == 1 else f"{stem}-{number}"
            path = folder / (own + Path(base).suffix.lower())
            if own in RESERVED or known.get(own, path) != path:
                continue  # the name means another corpus
            if not path.exists():
                write_file(path, data)
                return path
            if path.read_bytes() == data:
                return path
    raise CorpusError(f"There are already 9,999 texts called {stem}. Give this one another name.")


def list_corpora(corpora: str | Path = CORPORA) -> dict[str, Path]:
    """Name -> file of every text that can be trained on, shipped ones first."""
    root = Path(corpora)
    found = {}
    for folder in (root, root / UPLOADS):
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            readme = folder == root and path.name == "README.md"
            if path.suffix.lower() in SUFFIXES and path.is_file() and not readme:
                found.setdefault(path.stem, path)
    return found


def find_corpus(name: str, corpora: str | Path = CORPORA) -> Path:
    """The file of a corpus: a name from `list_corpora`, or a path.

    Raises:
        CorpusError: there is none; names those that exist.
    """
    known = list_corpora(corpora)
    if name in known:
        return known[name]
    if Path(name).is_file():
        return Path(name)
    raise CorpusError(f"There is no corpus {name!r}. There are: {', '.join(known) or 'none'}.")


@dataclass(frozen=True)
class Corpus:
    """A text as ids, split into what trains and what is held out."""

    name: str
    sha256: str
    """Of the text's UTF-8 bytes."""
    characters: int
    tokenizer: Tokenizer
    train: np.ndarray
    """(N,) uint16 ids."""
    val: np.ndarray
    """(M,) uint16 ids."""
    token_bytes: np.ndarray
    """(V,) int64: bytes of UTF-8 text behind each id (0 for special tokens)."""
    chat: bool = False
    """The text is conversations with turns."""
    starts: np.ndarray | None = None
    """(P,) int64: where in `train` each conversation or story begins; None for plain text."""


def fit_tokenizer(text: str | Sequence[str], kind: str, vocab_size: int) -> Tokenizer:
    """A tokenizer for a text: its characters and printable ASCII, or BPE of `vocab_size` ids.

    BPE learns its merges from the part that trains; an alphabet needs the characters of all.

    Raises:
        TokenizerError: `vocab_size` is too small for BPE.
    """
    whole = text if isinstance(text, str) else "".join(text)
    if kind == "char":
        return CharTokenizer.train(whole, also=PRINTABLE)
    return BPETokenizer.train(split_text(whole)[0], vocab_size)


def split_text(text: str) -> tuple[str, str]:
    """What trains and what is held out: the first `int(0.9 * len(text))` characters, the rest."""
    cut = int(TRAIN_SHARE * len(text))
    return text[:cut], text[cut:]


def make_corpus(
    name: str,
    text: str,
    kind: str,
    vocab_size: int,
    block_size: int,
    tokenizer: Tokenizer | None = None,
) -> Corpus:
    """Encode a text once, with a tokenizer fitted to it unless one is given.

    Args:
        name: how the corpus is called.
        text: all of it.
        kind: `char` or `bpe`, for a new tokenizer.
        vocab_size: most ids of a new BPE tokenizer.
        block_size: the model's context; each part must hold one block and a token more.
        tokenizer: use this one.

    Raises:
        CorpusError: the text is shorter than the context needs.
        TokenizerError: the tokenizer cannot take the text.
    """
    head, tail = split_text(text)
    tokenizer = tokenizer or fit_tokenizer(text, kind, vocab_size)
    if tokenizer.vocab_size > MAX_IDS:
        raise CorpusError(
            f"{name} has {tokenizer.vocab_size:,} different characters; at most {MAX_IDS:,} can "
            "be told apart. Use a BPE tokenizer."
        )
    train, val = (np.array(tokenizer.encode(part), dtype=np.uint16) for part in (head, tail))
    return pack_corpus(
        name, hashlib.sha256(text.encode("utf-8", "replace")).hexdigest(), len(text), tokenizer,
        train, val, block_size,
    )  # fmt: skip


def pack_corpus(
    name: str,
    sha256: str,
    characters: int,
    tokenizer: Tokenizer,
    train: np.ndarray,
    val: np.ndarray,
    block_size: int,
    chat: bool = False,
    starts: np.ndarray | None = None,
) -> Corpus:
    """A corpus from ids, after checking that both parts are long enough.

    Raises:
        CorpusError: a part is shorter than a block and a token.
    """
    if min(len(train), len(val)) <= block_size:
        raise CorpusError(
            f"{name} gives {len(train):,} tokens to train on and {len(val):,} to check with; "
            f"a context of {block_size} needs at least {block_size + 1} of each. "
            "Use a longer text or a smaller context."
        )
    token_bytes = np.array(tokenizer.byte_lengths(), dtype=np.int64)
    if starts is not None:
        starts = starts[starts < len(train) - block_size]
    return Corpus(name, sha256, characters, tokenizer, train, val, token_bytes, chat, starts)


def training_batch(
    ids: np.ndarray,
    step: int,
    batch_size: int,
    block_size: int,
    seed: int,
    starts: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of one step, a pure function of the step.

    Plain text is cut into blocks that begin at a new random place each epoch, and every block of
    an epoch is read once, in random order. With `starts`, every block begins at one of them, and
    an epoch takes each once. Because a batch depends on nothing but `step` and `seed`, a resumed
    run sees exactly the batches the uninterrupted one would have.

    Returns:
        Two (batch_size, block_size) int64 arrays; targets are inputs moved on by one token.
    """
    per_epoch = (len(ids) - 1) // block_size if starts is None else len(starts)
    begin = np.empty(batch_size, dtype=np.int64)
    for row in range(batch_size):
        epoch, place = divmod(step * batch_size + row, per_epoch)
        if row == 0 or place == 0:
            rng = np.random.default_rng((seed, epoch))
            offset = rng.integers(0, max(1, len(ids) - per_epoch * block_size))
            order = rng.permutation(per_epoch)
        at = order[place]
        begin[row] = offset + at * block_size if starts is None else starts[at]
    window = begin[:, None] + np.arange(block_size + 1)  # (B, T + 1)
    rows = ids[window].astype(np.int64)
    return rows[:, :-1], rows[:, 1:]


def validation_blocks(
    ids: np.ndarray, block_size: int, max_tokens: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Non-overlapping blocks over the validation ids, evenly thinned to `max_tokens` (0: all).

    Returns:
        Two (N, block_size) int64 arrays, inputs and targets. A last part shorter than a block is
        left out.
    """
    count = (len(ids) - 1) // block_size
    starts = np.arange(count) * block_size
    if max_tokens and count * block_size > max_tokens:
        keep = max(1, max_tokens // block_size)
        starts = starts[np.linspace(0, count - 1, keep).round().astype(int)]
    window = starts[:, None] + np.arange(block_size + 1)
    rows = ids[window].astype(np.int64)
    return rows[:, :-1], rows[:, 1:]
