"""What a run reports, on its way to memory, to a screen and to `metrics.jsonl`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from trainers.corpus import Corpus

CHUNK_IDS = 1 << 20
"""Training ids whose pairs are counted at a time, to bound memory."""


@dataclass(frozen=True)
class StepMetrics:
    """The state of a run after some steps."""

    step: int
    """Optimizer steps done."""
    tokens: int
    """Tokens read so far."""
    seconds: float
    """Seconds of training so far, pauses left out."""
    train_loss: float
    """Mean cross-entropy since the last report, nats a token."""
    learning_rate: float
    """Muon's learning rate at this step."""
    tokens_per_second: float
    """Since the last report."""
    val_loss: float | None = None
    """Cross-entropy on the validation text, nats a token; None between evaluations."""
    bits_per_byte: float | None = None
    """The same in bits a byte of text, comparable across tokenizers."""
    sample: str | None = None
    """A text the model wrote, when one was due."""

    def to_dict(self) -> dict:
        """The fields that are not None, rounded for reading."""
        return {
            k: round(v, 6) if isinstance(v, float) else v
            for k, v in asdict(self).items()
            if v is not None
        }

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)


def read_metrics(path: str | Path) -> list[StepMetrics]:
    """The reports in a `metrics.jsonl`; a last line cut off by a crash is passed over."""
    path = Path(path)
    if not path.is_file():
        return []
    reports = []
    # Not splitlines: a sample may hold U+2028 and its like, which JSON leaves as they are.
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            reports.append(StepMetrics(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return reports


def bits_per_byte(loss: float, targets: np.ndarray, token_bytes: np.ndarray) -> float:
    """Nats a token to bits a byte of UTF-8 text.

    Args:
        loss: mean nats a token over `targets`.
        targets: the ids that were scored.
        token_bytes: (V,) bytes behind each id.
    """
    total = int(token_bytes[targets].sum())
    return loss * targets.size / (math.log(2) * max(1, total))


def baselines(corpus: Corpus) -> dict[str, float]:
    """Losses that need no network, in nats a token on the validation ids.

    `uniform` knows only the size of the vocabulary (ln V), `unigram` how often each id occurs in
    the training ids, `bigram` which id follows which (backing off to the unigram).
    """
    size = corpus.tokenizer.vocab_size
    counts = np.bincount(corpus.train, minlength=size)
    unigram = (counts + 1.0) / (counts + 1.0).sum()
    val = corpus.val.astype(np.int64)
    seen = _pair_counts(corpus.train, val[:-1] * size + val[1:], size)
    strength = 5.0  # pseudo-counts given to the unigram
    before = counts - (np.arange(size) == corpus.train[-1])  # the last id is before none
    bigram = (seen + strength * unigram[val[1:]]) / (before[val[:-1]] + strength)
    return {
        "uniform": math.log(size),
        "unigram": float(-np.log(unigram[val[1:]]).mean()),
        "bigram": float(-np.log(bigram).mean()),
    }


def _pair_counts(ids: np.ndarray, wanted: np.ndarray, size: int) -> np.ndarray:
    """How often each wanted pair (left * size + right) stands in `ids`, counted in parts."""
    pairs, place = np.unique(wanted, return_inverse=True)
    times = np.zeros(len(pairs), dtype=np.int64)
    for at in range(0, len(ids) - 1, CHUNK_IDS):
        some = ids[at : at + CHUNK_IDS + 1].astype(np.int64)
        found, often = np.unique(some[:-1] * size + some[1:], return_counts=True)
        where = np.searchsorted(pairs, found).clip(max=len(pairs) - 1)
        hit = pairs[where] == found
        times[where[hit]] += often[hit]
    return times[place]


def best(reports: Iterable[StepMetrics]) -> StepMetrics | None:
    """The report with the lowest validation loss."""
    scored = [r for r in reports if r.val_loss is not None]
    return min(scored, key=lambda r: r.val_loss) if scored else None
