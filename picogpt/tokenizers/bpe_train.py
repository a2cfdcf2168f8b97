"""Learning the merges of byte-level BPE: again and again, join the most frequent pair.

Source: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units"
(byte pair encoding on words); Radford et al. 2019 (GPT-2: on bytes).

Said simply, the algorithm counts all pairs of neighbours, joins the most frequent one everywhere,
and starts over. Three things make it fast without changing the outcome: each distinct word is
worked on once, with its count; a merge updates the counts around the places it joins, instead of
counting again; and a heap knows the most frequent pair.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

from picogpt.tokenizers.base import well_formed
from picogpt.tokenizers.pretokenize import word_blocks

Pair = tuple[int, int]  # the ids of two neighbours, left and right
Progress = Callable[[int, int], None]  # merges learned, merges asked for

MAX_WORD_BYTES = 256  # longer words (text without spaces) are learned from in pieces of this
PROGRESS_EVERY = 100  # merges between two calls of `progress`


def count_words(texts: Iterable[str]) -> Counter[bytes]:
    """Counts the distinct words of `texts`, as bytes; no word crosses from one text to the next."""
    counts: Counter[str] = Counter()
    for text in texts:
        for words in word_blocks(well_formed(text)):
            counts.update(words)
    pieces: Counter[bytes] = Counter()
    for word, count in counts.items():
        data = word.encode("utf-8")
        for start in range(0, len(data), MAX_WORD_BYTES):
            pieces[data[start : start + MAX_WORD_BYTES]] += count
    return pieces


def learn_merges(
    word_counts: Mapping[bytes, int], n_merges: int, progress: Progress | None = None
) -> list[Pair]:
    """Learns up to `n_merges` merges; merge number `k` makes the token `256 + k`.

    Ids 0 to 255 are the bytes. Of several pairs that are equally frequent, the one with the
    smallest (left id, right id) is joined, so that the same words give the same merges whatever
    their order. Pairs are joined down to those that occur only once; there are fewer merges than
    asked for when every word has become a single token before that.

    Args:
        word_counts: How often each distinct word occurs.
        n_merges: Merges asked for, 0 or more.
        progress: Called now and then, and at the end, with the merges learned and those asked
            for. What it raises ends the training.
    """
    table = _PairTable(word_counts)
    merges: list[Pair] = []
    while len(merges) < n_merges:
        pair = table.most_frequent()
        if pair is None:
            break
        table.join(pair, new_id=256 + len(merges))
        merges.append(pair)
        if progress and len(merges) % PROGRESS_EVERY == 0:
            progress(len(merges), n_merges)
    if progress:
        progress(len(merges), n_merges)
    return merges


class _PairTable:
    """The words as they stand after the merges so far, and how often each pair occurs in them."""

    def __init__(self, word_counts: Mapping[bytes, int]) -> None:
        self.words = [list(word) for word in word_counts]  # the ids of each word
        self.word_counts = list(word_counts.values())
        self.counts: dict[Pair, int] = defaultdict(int)
        self.where: dict[Pair, set[int]] = defaultdict(set)  # pair -> words it is, or was, in
        for place, (word, count) in enumerate(zip(self.words, self.word_counts, strict=True)):
            for pair in pairwise(word):
                self.counts[pair] += count
                self.where[pair].add(place)
        self.heap = [(-count, pair) for pair, count in self.counts.items()]
        heapq.heapify(self.heap)

    def most_frequent(self) -> Pair | None:
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

    def join(self, pair: Pair, new_id: int) -> None:
        """Replaces `pair` by `new_id` in every word, from left to right, and updates the counts."""
        changes: dict[Pair, int] = defaultdict(int)
        for place in self.where.pop(pair):
            _join_in_word(self.words[place], pair, new_id, self.word_counts[place], changes)
            for neighbours in pairwise(self.words[place]):
                if new_id in neighbours:
                    self.where[neighbours].add(place)
        del self.counts[pair]
        changes.pop(pair, None)
        for changed, change in changes.items():
            count = self.counts[changed] = self.counts[changed] + change
            if count == 0:
                del self.counts[changed]
            elif change > 0:
                heapq.heappush(self.heap, (-count, changed))


def _join_in_word(
    word: list[int], pair: Pair, new_id: int, count: int, changes: dict[Pair, int]
) -> None:
    """Joins `pair` in one word, in place, and notes in `changes` which pairs came and went."""
    left, right = pair
    last = len(word) - 1
    i = 0
    while i < last:
        if word[i] == left and word[i + 1] == right:
            if i > 0:
                changes[word[i - 1], left] -= count
                changes[word[i - 1], new_id] += count
            if i + 1 < last:
                changes[right, word[i + 2]] -= count
                changes[new_id, word[i + 2]] += count
            word[i : i + 2] = [new_id]
            last -= 1
        i += 1
