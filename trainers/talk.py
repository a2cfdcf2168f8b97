"""The corpus `talk`: conversations drawn from the dialogue banks, and the stories among them.

Every conversation and every story begins where a context begins, which is where it will begin
when somebody talks to the model, and ends with `<|endoftext|>`. Held out are conversations that
end in a phrasing marked `test:`, which training never sees.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from pathlib import Path

import numpy as np

from picogpt.chat import END_OF_TEXT, Turn, turn_ids
from picogpt.errors import CorpusError
from picogpt.tokenizers import BPETokenizer, Tokenizer
from trainers.banks import Banks, load_banks
from trainers.config import TrainConfig
from trainers.corpus import Corpus, pack_corpus, read_text
from trainers.dialogue import conversations, held_out

TALK = "talk"
"""Name of this corpus."""
CONVERSATIONS = 24_000
"""Conversations in one epoch."""
HELD_OUT = 600
"""Conversations to check with."""
STORIES = "stories.txt"
STORY_COPIES = 3
"""How often the stories stand among the conversations of one epoch, with their titles; and as often
without, so that a story can also begin with its first sentence."""


def has_banks(corpora: Path) -> bool:
    """Whether there are dialogue banks to learn from."""
    return any((corpora / "dialogue").glob("*.txt"))


def story_pieces(text: str) -> list[str]:
    """The pieces of a text that are set apart by two blank lines."""
    return [piece.strip() for piece in re.split(r"\n\s*\n\s*\n+", text) if piece.strip()]


def talk_corpus(config: TrainConfig, corpora: Path, tokenizer: Tokenizer | None = None) -> Corpus:
    """Draw, tokenize and encode.

    Args:
        config: gives the seed, the vocabulary and the context.
        corpora: holds `dialogue/` and, if there, `stories.txt`.
        tokenizer: use this one instead of a new BPE tokenizer.

    Raises:
        CorpusError: no banks, or a malformed one.
        TokenizerError: the vocabulary is too small.
    """
    if not has_banks(corpora):
        raise CorpusError(f"There are no dialogue banks in {corpora / 'dialogue'}.")
    banks = load_banks(corpora / "dialogue")
    talks = list(itertools.islice(conversations(banks, config.seed), CONVERSATIONS))
    stories = _stories(corpora)
    if tokenizer is None:
        sample = "\n".join(turn.text for talk in talks[:4000] for turn in talk)
        tokenizer = BPETokenizer.train(sample + "\n" + "\n".join(stories), config.vocab_size)
    pieces = [_conversation_ids(talk, tokenizer) for talk in talks]
    told = stories + [_untitled(piece) for piece in stories]
    pieces += [_story_ids(piece, tokenizer) for piece in told * STORY_COPIES]
    order = np.random.default_rng(config.seed).permutation(len(pieces))
    train, starts = _join([pieces[i] for i in order])
    val, _ = _join([_conversation_ids(talk, tokenizer) for talk in _held_out_talks(banks)])
    digest = hashlib.sha256()
    for path in (*sorted((corpora / "dialogue").glob("*.txt")), corpora / STORIES):
        digest.update(path.read_bytes() if path.is_file() else b"")
    characters = sum(len(turn.text) for talk in talks for turn in talk) + sum(map(len, stories))
    return pack_corpus(
        TALK, digest.hexdigest(), characters, tokenizer, train, val, config.block_size,
        chat=True, starts=starts,
    )  # fmt: skip


def _stories(corpora: Path) -> list[str]:
    path = corpora / STORIES
    return story_pieces(read_text(path)) if path.is_file() else []


def _untitled(piece: str) -> str:
    """A piece without its title, where it has one: a first line with an empty line after it."""
    title, gap, rest = piece.partition("\n\n")
    return rest.strip() if gap and "\n" not in title else piece


def _held_out_talks(banks: Banks) -> list[list[Turn]]:
    """Conversations whose last question is in words that training never saw."""
    return [[*item.turns, Turn("assistant", item.answer)] for item in held_out(banks, 0, HELD_OUT)]


def _conversation_ids(talk: list[Turn], tokenizer: Tokenizer) -> list[int]:
    ids = [i for turn in talk for i in turn_ids(turn, tokenizer)]
    return [*ids, tokenizer.special_tokens[END_OF_TEXT]]


def _story_ids(piece: str, tokenizer: Tokenizer) -> list[int]:
    return [*tokenizer.encode(piece), tokenizer.special_tokens[END_OF_TEXT]]


def _join(pieces: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """All ids in a row, uint16, and where each piece begins."""
    lengths = np.array([len(piece) for piece in pieces])
    starts = np.concatenate([[0], lengths.cumsum()[:-1]]).astype(np.int64)
    ids = np.fromiter(itertools.chain.from_iterable(pieces), dtype=np.uint16, count=lengths.sum())
    return ids, starts
