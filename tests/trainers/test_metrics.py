"""Reports and baselines, against numbers worked by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from picogpt.tokenizers import CharTokenizer
from trainers.corpus import Corpus
from trainers.metrics import StepMetrics, baselines, best, bits_per_byte, read_metrics


def report(step: int, **more: object) -> StepMetrics:
    return StepMetrics(step, step * 10, step / 4, 2.5, 0.02, 1234.5, **more)


def test_baselines_by_hand() -> None:
    # train a b a b a, val a b b; V = 2
    train, val = (np.array(ids, dtype=np.uint16) for ids in ([0, 1, 0, 1, 0], [0, 1, 1]))
    corpus = Corpus("t", "", 8, CharTokenizer(["a", "b"]), train, val, np.array([1, 1]))
    losses = baselines(corpus)
    a, b = 4 / 7, 3 / 7  # (3 + 1) / (5 + 2), (2 + 1) / (5 + 2)
    assert losses["uniform"] == pytest.approx(math.log(2))
    assert losses["unigram"] == pytest.approx(-math.log(b))
    # a -> b was seen twice after two a's; b -> b never after two b's
    after_a, after_b = (2 + 5 * b) / (2 + 5), (0 + 5 * b) / (2 + 5)
    assert losses["bigram"] == pytest.approx(-(math.log(after_a) + math.log(after_b)) / 2)
    assert a + b == 1


def test_bits_per_byte_by_hand() -> None:
    token_bytes = np.array([1, 3, 0])  # the last is a special token
    targets = np.array([[0, 1], [1, 2]])  # 7 bytes in 4 tokens
    assert bits_per_byte(math.log(2), targets, token_bytes) == pytest.approx(4 / 7)
    assert bits_per_byte(2 * math.log(2), np.array([0]), token_bytes) == pytest.approx(2)


def test_json_leaves_out_what_is_none() -> None:
    line = json.loads(report(3, val_loss=1.23456789).to_json())
    assert line["val_loss"] == 1.234568
    assert "sample" not in line


def test_jsonl_round_trip_with_a_cut_last_line(tmp_path) -> None:
    strange = 'two\nlines \u2028 and \u2029, \x85 and \x0b, \ufffd 你好 "quoted"'
    reports = [report(1), report(2, val_loss=2.0, bits_per_byte=1.5), report(3, sample=strange)]
    text = "".join(r.to_json() + "\n" for r in reports)
    path = tmp_path / "metrics.jsonl"
    path.write_text(text + report(4).to_json()[:30], encoding="utf-8")
    assert read_metrics(path) == reports


def test_no_file_has_no_reports(tmp_path) -> None:
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_best() -> None:
    scored = [report(1, val_loss=2.0), report(2), report(3, val_loss=1.0), report(4, val_loss=3.0)]
    assert best(scored) is scored[2]
    assert best([report(1)]) is None
