"""From a text to token ids and batches: check, store, find, split, encode.

A corpus is a `.txt` or `.md` file. `text_file.py` reads it and `big_text.py` encodes it; its ids
are kept in memory as uint16, the text is not.
"""

from __future__ import annotations

import io
import re
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from picogpt.errors import CorpusError
from picogpt.files import write_file
from picogpt.tokenizers import Tokenizer
from trainers.big_text import BigText, Progress
from trainers.text_file import TextFile, check_size, decode_pieces

CORPORA = Path("corpora")
UPLOADS = "uploads"
SUFFIXES = (".txt", ".md")
RESERVED = ("talk",)
"""Names of corpora that are made and not read; see `trainers/talk.py`."""
MAX_BYTES = 10_000_000
"""Largest text that can be uploaded, or read into memory as one, in bytes."""
MAX_IDS = 65_536
"""Largest vocabulary whose ids fit uint16."""

_IMPORTING = threading.Lock()  # two people may upload under one name at one moment


def decode_text(data: bytes, name: str) -> str:
    """The text in `data`, with CRLF kept and a BOM taken off.

    Args:
        data: the bytes of a file.
        name: how to call it in an error.

    Raises:
        CorpusError: empty, too large, binary, or neither UTF-8 nor UTF-16 with BOM.
    """
    check_size(len(data), name, MAX_BYTES)
    return "".join(decode_pieces(io.BytesIO(data), name))


def read_text(path: str | Path) -> str:
    """Read a text file from disk; see `decode_text`.

    Raises:
        CorpusError: there is no such file, or it is not a text we can read.
    """
    return "".join(TextFile(path, MAX_BYTES))


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


def make_corpus(
    name: str,
    text: str | TextFile,
    kind: str,
    vocab_size: int,
    block_size: int,
    tokenizer: Tokenizer | None = None,
    progress: Progress | None = None,
) -> Corpus:
    """Encode a text once, with a tokenizer fitted to it unless one is given.

    The text is gone through several times, a piece at a time: in memory are its ids and, while BPE
    learns, a bounded number of words.

    Args:
        name: how the corpus is called.
        text: all of it, or its file.
        kind: `char` or `bpe`, for a new tokenizer.
        vocab_size: most ids of a new BPE tokenizer.
        block_size: the model's context; each part must hold one block and a token more.
        tokenizer: use this one.
        progress: told some ten times a second what is being done, how much of it is done, and
            how much there is (pieces, characters or merges). What it raises ends the work.

    Raises:
        CorpusError: the text cannot be read, or is shorter than the context needs.
        TokenizerError: the tokenizer cannot take the text.
    """
    big = BigText(text, progress)
    tokenizer = tokenizer or big.fit_tokenizer(kind, vocab_size)
    if tokenizer.vocab_size > MAX_IDS:
        raise CorpusError(
            f"{name} has {tokenizer.vocab_size:,} different characters; at most {MAX_IDS:,} can "
            "be told apart. Use a BPE tokenizer."
        )
    train, val = big.encode(tokenizer)
    return pack_corpus(name, big.sha256, big.characters, tokenizer, train, val, block_size)


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
    spare = max(1, len(ids) - per_epoch * block_size)
    begin = np.empty(batch_size, dtype=np.int64)
    for row in range(batch_size):
        epoch, place = divmod(step * batch_size + row, per_epoch)
        offset, order = _epoch_order(seed, epoch, per_epoch, spare)
        at = order[place]
        begin[row] = offset + at * block_size if starts is None else starts[at]
    window = begin[:, None] + np.arange(block_size + 1)  # (B, T + 1)
    rows = ids[window].astype(np.int64)
    return rows[:, :-1], rows[:, 1:]


@lru_cache(maxsize=2)  # a batch may span two epochs
def _epoch_order(seed: int, epoch: int, blocks: int, spare: int) -> tuple[int, np.ndarray]:
    """Where the first block of an epoch begins, and in which order the blocks are read."""
    rng = np.random.default_rng((seed, epoch))
    return int(rng.integers(0, spare)), rng.permutation(blocks)


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
