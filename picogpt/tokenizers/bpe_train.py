"""Learning the merges of byte-level BPE: again and again, join the most frequent pair.

Source: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units"
(byte pair encoding on words); Radford et al. 2019 (GPT-2: on bytes).

Said simply, the algorithm counts all pairs of neighbours, joins the most frequent one everywhere,
and starts over. Three things make it fast without changing the outcome: each distinct word is
worked on once, with its count; a merge updates the counts around the places it joins, instead of
counting again; and a heap knows the most frequent pair.

A word is kept as a `str` whose characters are its ids: character 65 is the byte "A", character
256 is what the first merge made. So a merge within a word is Python's own `split` and `join`.
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

MAX_WORDS = 500_000  # distinct words counted: learning from so many takes some 300 MB
MAX_WORD_CHARS = 256  # longer words (text without spaces) are learned from in pieces of this


def count_words(pieces: Iterable[str]) -> Counter[str]:
    """Counts the distinct words of a text that comes in pieces, in bounded memory.

    Whenever there are more than `MAX_WORDS`, the rarest are forgotten, with their counts, until
    half as many are left; of equally frequent words those seen first stay. Only words far too
    rare to decide a merge are lost. The same text gives the same counts wherever its pieces end.
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
    """The words as they stand after the merges so far, and how often each pair occurs in them."""

    def __init__(self, word_counts: Mapping[str, int]) -> None:
        self.words = [word.encode("utf-8").decode("latin-1") for word in word_counts]
        self.word_counts = list(word_counts.values())
        self.counts: dict[str, int] = defaultdict(int)
        self.where: dict[str, array] = defaultdict(_no_places)  # pair -> words it is, or was, in
        for place, word in enumerate(self.words):
            for start in range(len(word) - 1):
                pair = word[start : start + 2]
                self.counts[pair] += self.word_counts[place]
                self.where[pair].append(place)
        self.heap = [(-count, pair) for pair, count in self.counts.items()]
        heapq.heapify(self.heap)

    def most_frequent(self) -> str | None:
        """Takes the most frequent pair off the heap, the smallest ids first among equals.

        The heap is lazy: a count that has fallen since it was pushed is noticed only here, and
        goes back with its present value. Every pair is on the heap with at least its count.
        """
        while self.heap:
            count, pair = heapq.heappop(self.heap)
            present = self.counts.get(pair, 0)
            if -count == present:
                return pair
            if present:
                heapq.heappush(self.heap, (-present, pair))
        return None

    def join(self, pair: str, new: str) -> None:
        """Replaces `pair` by `new` in every word, from left to right, and updates the counts."""
        left, right = pair
        where = self.where
        changes: dict[str, int] = defaultdict(int)
        for place in where.pop(pair):
            head, *rest = self.words[place].split(pair)
            self.words[place] = new.join((head, *rest))
            count = self.word_counts[place]
            was = now = head[-1:]  # what stood before the pair, and what stands before `new`
            for part in rest:
                if now:
                    changes[was + left] -= count
                    came = now + new
                    changes[came] += count
                    where[came].append(place)
                if part:
                    changes[right + part[0]] -= count
                    came = new + part[0]
                    changes[came] += count
                    where[came].append(place)
                was, now = (part[-1], part[-1]) if part else (right, new)
        changes.pop(pair, None)
        del self.counts[pair]
        self._change_counts(changes)

    def _change_counts(self, changes: Mapping[str, int]) -> None:
        """Adds to the counts; pairs that are no more are forgotten."""
        for pair, change in changes.items():
            count = self.counts[pair] = self.counts[pair] + change
            if count == 0:
                del self.counts[pair], self.where[pair]
            elif change > 0:
                heapq.heappush(self.heap, (-count, pair))


def _no_places() -> array:
    """An empty list of whole numbers, four bytes each."""
    return array("I")
