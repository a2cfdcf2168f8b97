"""Byte-level byte pair encoding, as in GPT-2: frequent words are one token, any text has tokens.

Source: Sennrich et al. 2016 (byte pair encoding); Radford et al. 2019 (GPT-2: bytes, so that no
text is unknown). How merges are learned stands in `bpe_train.py`; here they are applied.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

from picogpt.errors import TokenizerError
from picogpt.tokenizers.base import Tokenizer, require
from picogpt.tokenizers.bpe_format import bpe_from_json, bpe_to_json
from picogpt.tokenizers.bpe_train import Pair, count_words, learn_merges
from picogpt.tokenizers.pretokenize import word_blocks
from picogpt.tokenizers.saving import CHAT_SPECIAL_TOKENS

LONG_WORD = 64  # bytes; longer words are merged with a heap, and not remembered
CACHE_WORDS = 1 << 18  # words whose ids are remembered, some 60 MB at most
_NO_RANK = 1 << 60  # larger than any rank: this pair is never joined
_JOINED = -1  # the place of an id that was joined to its left neighbour


class BPETokenizer(Tokenizer):
    """Byte-level BPE with GPT-2's words.

    Ids of a trained tokenizer: 0 to 255 are the bytes, then one id per merge in the order they
    were learned, then the special tokens. (A foreign GPT-2 file keeps its own order.)
    """

    kind: ClassVar[str] = "bpe"

    def __init__(
        self, tokens: Sequence[bytes], merges: Sequence[Pair], special_tokens: Mapping[str, int]
    ) -> None:
        """Makes a tokenizer from its parts.

        Args:
            tokens: The bytes of each id; for special tokens those of their names.
            merges: (left id, right id), the first learned first. What a pair makes is the token
                with the bytes of both.
            special_tokens: Name -> id.

        Raises:
            TokenizerError: A byte or the result of a merge is no token, or two tokens are alike.
        """
        super().__init__(tokens, special_tokens)
        require(
            len(set(tokens)) == len(tokens),
            "two tokens have the same bytes; is the name of a special token an ordinary word?",
        )
        ids = {token: id for id, token in enumerate(tokens) if id not in self._special_ids}
        try:
            self._byte_ids = [ids[bytes([byte])] for byte in range(256)]
            self._merged_ids = [ids[tokens[left] + tokens[right]] for left, right in merges]
        except KeyError as error:
            raise TokenizerError(f"the vocabulary lacks the token {error.args[0]!r}.") from None
        self.merges = list(merges)
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._cache: dict[str, list[int]] = {}

    @classmethod
    def train(
        cls,
        text: str | Iterable[str],
        vocab_size: int,
        special_tokens: Sequence[str] = CHAT_SPECIAL_TOKENS,
        progress: Callable[[int, int], None] | None = None,
    ) -> BPETokenizer:
        """Learns a vocabulary from `text`; the same text gives the same vocabulary.

        Args:
            text: One text, whole or in pieces that are run together, such as an open file. It
                may be larger than memory; see `count_words`.
            vocab_size: Tokens asked for: 256 bytes + merges + special tokens. A short text may
                support fewer; the vocabulary is smaller then, and not filled up.
            special_tokens: Names of the special tokens, printable ASCII.
            progress: Called after every merge with (merges learned, merges asked for). What it
                raises ends the training.

        Raises:
            TokenizerError: `vocab_size` has no room for the bytes and the special tokens, or
                these are badly named.
        """
        _check_special_tokens(special_tokens)
        least = 256 + len(special_tokens)
        require(
            vocab_size >= least,
            f"vocab_size={vocab_size} is too small: the 256 bytes and {len(special_tokens)} "
            f"special tokens need at least {least}.",
        )
        pieces = [text] if isinstance(text, str) else text
        merges = learn_merges(count_words(pieces), vocab_size - least, progress)
        tokens = [bytes([byte]) for byte in range(256)]
        for left, right in merges:
            tokens.append(tokens[left] + tokens[right])
        special_ids = {name: len(tokens) + i for i, name in enumerate(special_tokens)}
        return cls(tokens + [name.encode() for name in special_tokens], merges, special_ids)

    def encode_pieces(self, pieces: Iterable[str]) -> Iterator[list[int]]:
        """Gives the ids of a text that comes in pieces; any text can be encoded.

        Text that looks like a special token is encoded as plain characters. Half of a surrogate
        pair is read as U+FFFD.
        """
        cache = self._cache
        for words in word_blocks(pieces):
            ids: list[int] = []
            for word in words:
                ids += cache.get(word) or self._encode_word(word)
            yield ids

    def _encode_word(self, word: str) -> list[int]:
        """Merges one word and remembers the outcome, unless it is long.

        When too many are remembered, the newest quarter goes: what a text begins with is mostly
        frequent, and what is new in a later part still has room.
        """
        ids = [self._byte_ids[byte] for byte in word.encode("utf-8")]
        if len(ids) > LONG_WORD:
            return self._merge_long(ids)
        ids = self._merge(ids)
        if len(self._cache) >= CACHE_WORDS:
            for _ in range(max(1, CACHE_WORDS // 4)):
                self._cache.popitem()
        self._cache[word] = ids
        return ids

    def _merge(self, ids: list[int]) -> list[int]:
        """Applies the merges to one word: the first learned first, from left to right.

        Simple, and quadratic in the length of the word.
        """
        rank_of = self._ranks.get
        ranks = [rank_of(pair, _NO_RANK) for pair in pairwise(ids)]  # of each id and the next
        while ranks and (rank := min(ranks)) != _NO_RANK:
            place = ranks.index(rank)
            joined = self._merged_ids[rank]
            ids[place : place + 2] = [joined]
            del ranks[place]
            if place > 0:
                ranks[place - 1] = rank_of((ids[place - 1], joined), _NO_RANK)
            if place < len(ranks):
                ranks[place] = rank_of((joined, ids[place + 1]), _NO_RANK)
        return ids

    def _merge_long(self, ids: list[int]) -> list[int]:
        """Does the same as `_merge` in n log n steps, for text without spaces.

        A heap holds (rank, place) of every pair that can be joined; ids are linked to their
        neighbours, so that joining two moves nothing. Entries that no longer hold are skipped.
        """
        end = len(ids)
        before, after = list(range(-1, end - 1)), list(range(1, end + 1))
        ranks = [self._ranks.get(pair, _NO_RANK) for pair in pairwise(ids)]
        heap = [(rank, place) for place, rank in enumerate(ranks) if rank != _NO_RANK]
        heapq.heapify(heap)
        while heap:
            rank, place = heapq.heappop(heap)
            gone = after[place]
            if gone == end or (ids[place], ids[gone]) != self.merges[rank]:
                continue
            ids[place], ids[gone] = self._merged_ids[rank], _JOINED
            after[place] = after[gone]
            if after[place] < end:
                before[after[place]] = place
            for left, right in ((before[place], place), (place, after[place])):
                if left >= 0 and right < end:
                    new_rank = self._ranks.get((ids[left], ids[right]))
                    if new_rank is not None:
                        heapq.heappush(heap, (new_rank, left))
        return [id for id in ids if id != _JOINED]

    def to_json(self) -> dict[str, Any]:
        """Gives tokenizer.json; the `tokenizers` library reads it and gives the same ids."""
        return bpe_to_json(self._tokens, self.merges, self.special_tokens)

    @classmethod
    def from_json(cls, obj: Any) -> BPETokenizer:
        """Rebuilds a tokenizer from `to_json`'s object, or from that of a foreign GPT-2.

        Raises:
            TokenizerError: The object is malformed, or describes some other tokenizer.
        """
        return cls(*bpe_from_json(obj))


def _check_special_tokens(names: Sequence[str]) -> None:
    """Refuses special tokens that the tokenizer.json format could not tell from others."""
    require(not isinstance(names, str), "special_tokens is a list of names, not one text.")
    require(len(set(names)) == len(names), f"special_tokens repeats a name: {list(names)}.")
    for name in names:
        require(
            len(name) > 1 and name.isascii() and name.isprintable(),
            f"special token {name!r} must be two or more printable ASCII characters.",
        )
