"""Learning the merges of byte-level BPE: again and again, join the most frequent pair.

Source: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units"
(byte pair encoding on words); Radford et al. 2019 (GPT-2: on bytes).

Said simply, the algorithm counts all pairs of neighbours, joins the most frequent one everywhere,
and starts over. Three things make it fast without changing the outcome: each distinct word is
worked on once, with its count; only words that a pair has been seen in are looked at; and a pair
is counted again only when it may be the most frequent one. That is known because a merge makes
pairs with its new token alone: once a pair has come up, its count can only fall.

A word is kept as a `str` whose characters are its ids: character 65 is the byte "A", character
256 is what the first merge made. So a merge in a word is Python's own `split` and `join`.
"""

from __future__ import annotations

import heapq
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter

from picogpt.tokenizers.pretokenize import word_blocks

Pair = tuple[int, int]  # the ids of two neighbours, left and right
Progress = Callable[[int, int], None]  # merges learned, merges asked for

MAX_WORDS = 500_000  # distinct words counted at a time: at most some 100 MB, and twice in learning
MAX_WORD_CHARS = 256  # longer words (text without spaces) are learned from in pieces of this


def count_words(pieces: Iterable[str]) -> Counter[str]:
    """Counts the distinct words of a text that comes in pieces, in bounded memory.

    Whenever there are more than `MAX_WORDS`, only the more frequent half of that is kept (of
    equally frequent words those seen first), and the counts of the others are lost. That takes a
    text with very many different words, and costs those that are too rare to decide a merge. The
    same text gives the same counts, wherever its pieces end.
    """
    counts: Counter[str] = Counter()
    for words in word_blocks(pieces):
        counts.update(_shortened(words))
        if len(counts) > MAX_WORDS:
            by_count = sorted(counts.items(), key=itemgetter(1), reverse=True)
            counts = Counter(dict(by_count[: MAX_WORDS // 2]))
    return counts


def _shortened(words: Iterable[str]) -> Iterator[str]:
    """Gives the words, the long ones in pieces of `MAX_WORD_CHARS`."""
    for word in words:
        if len(word) <= MAX_WORD_CHARS:
            yield word
        else:
            for start in range(0, len(word), MAX_WORD_CHARS):
                yield word[start : start + MAX_WORD_CHARS]


def learn_merges(
    word_counts: Mapping[str, int], n_merges: int, progress: Progress | None = None
) -> list[Pair]:
    """Learns up to `n_merges` merges; merge number `k` makes the token `256 + k`.

    Ids 0 to 255 are the bytes. Of several pairs that are equally frequent, the one with the
    smallest (left id, right id) is joined, so that the same words give the same merges whatever
    their order. Pairs are joined down to those that occur only once; there are fewer merges than
    asked for when every word has become a single token before that.

    Args:
        word_counts: How often each distinct word occurs.
        n_merges: Merges asked for, 0 or more.
        progress: Called after every merge with the merges learned and those asked for. What it
            raises ends the training.
    """
    table = _PairTable(word_counts)
    merges: list[Pair] = []
    while len(merges) < n_merges and (pair := table.most_frequent()):
        table.join(pair, chr(256 + len(merges)))
        merges.append((ord(pair[0]), ord(pair[1])))
        if progress:
            progress(len(merges), n_merges)
    return merges


class _PairTable:
    """The words as they stand after the merges so far, and where to look for each pair."""

    def __init__(self, word_counts: Mapping[str, int]) -> None:
        self.words = [word.encode("utf-8").decode("latin-1") for word in word_counts]
        self.counts = list(word_counts.values())
        self.where: dict[str, array] = defaultdict(_places)  # pair -> words it is, or was, in
        self.heap: list[tuple[int, str]] = []  # (-count when last counted, pair)
        found: dict[str, int] = defaultdict(int)
        for place, word in enumerate(self.words):
            for i in range(len(word) - 1):
                self._note(word[i : i + 2], place, found)
        self._push(found)

    def most_frequent(self) -> str | None:
        """Takes the most frequent pair off the heap, the smallest ids first among equals.

        The pair on top may have become rarer since it was counted: it is counted again, and goes
        back if so. The others have at most the count they stand with.
        """
        while self.heap:
            count, pair = heapq.heappop(self.heap)
            present = self._recount(pair)
            if present == -count:
                return pair
            if present:
                heapq.heappush(self.heap, (-present, pair))
        return None

    def join(self, pair: str, new: str) -> None:
        """Replaces `pair` by `new` in every word, from left to right, and counts the new pairs."""
        found: dict[str, int] = defaultdict(int)
        for place in self.where.pop(pair):
            parts = self.words[place].split(pair)
            self.words[place] = new.join(parts)
            before = parts[0][-1:]
            for part in parts[1:]:
                if before:
                    self._note(before + new, place, found)
                if part:
                    self._note(new + part[0], place, found)
                before = part[-1:] or new
        self._push(found)

    def _note(self, pair: str, place: int, found: dict[str, int]) -> None:
        """Adds a pair that stands in a word."""
        found[pair] += self.counts[place]
        self.where[pair].append(place)

    def _push(self, found: Mapping[str, int]) -> None:
        for pair, count in found.items():
            heapq.heappush(self.heap, (-count, pair))

    def _recount(self, pair: str) -> int:
        """Counts a pair anew, and forgets the words that it is no longer in."""
        seen = dict.fromkeys(self.where.pop(pair))  # a word may be noted twice
        places = [place for place in seen if pair in self.words[place]]
        if places:
            self.where[pair] = array("I", places)
        return sum(self.counts[place] * _occurrences(pair, self.words[place]) for place in places)


def _places() -> array:
    """An empty list of numbers, four bytes each."""
    return array("I")


def _occurrences(pair: str, word: str) -> int:
    """How often `pair` stands in `word`: "aa" twice in "aaa", where only one can be joined."""
    if pair[0] != pair[1]:
        return word.count(pair)
    return sum(word.startswith(pair, place) for place in range(len(word) - 1))
