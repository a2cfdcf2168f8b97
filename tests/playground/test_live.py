"""Attention of running streams: what a browser fetches row by row, and nobody else can."""

from __future__ import annotations

import base64
import threading

import numpy as np
import torch

from playground.components import heads_payload
from playground.live import KEPT, LiveTrace, LiveTraces

LAYERS, HEADS, TOKENS = 2, 3, 6


def rows() -> torch.Tensor:
    """(L, H, T, T) weights that differ everywhere."""
    dice = torch.Generator().manual_seed(0)
    return torch.rand((LAYERS, HEADS, TOKENS, TOKENS), generator=dice).tril()


def grown(prompt: int) -> LiveTrace:
    """A trace of `rows` whose first `prompt` tokens came at once, the others one by one."""
    trace, weights = LiveTrace("key", LAYERS, HEADS), rows()
    trace.add_prompt([f"t{i}" for i in range(prompt)], weights[:, :, :prompt, :prompt])
    for t in range(prompt, TOKENS):
        trace.add_row(f"t{t}", weights[:, :, t, : t + 1])
    return trace


def test_rows_that_came_one_by_one_equal_those_that_came_at_once():
    whole = heads_payload("key", [f"t{i}" for i in range(TOKENS)], rows().numpy(), live=True)
    for prompt in (1, 4, TOKENS):
        got = grown(prompt).payload()
        weights, wanted = (
            np.frombuffer(base64.b64decode(p.pop("data")), np.uint8).astype(int)
            for p in (got, dict(whole))
        )
        assert np.abs(weights - wanted).max() <= 1  # kept in float16 on the way
        assert got == {k: v for k, v in whole.items() if k != "data"}


def test_what_a_browser_knows_is_not_sent_again():
    trace = grown(4)
    part = trace.payload(4)
    assert (part["from"], part["n"], part["tokens"]) == (4, 6, ["t4", "t5"])
    assert len(base64.b64decode(part["data"])) == LAYERS * HEADS * (5 + 6)
    everything = base64.b64decode(trace.payload()["data"])
    assert everything.endswith(base64.b64decode(part["data"]))


def test_nothing_new_is_none_and_the_end_is_told_to_whoever_has_all():
    trace = grown(2)
    assert trace.payload(TOKENS) is None
    assert trace.payload(TOKENS + 1) is None
    trace.end()
    last = trace.payload(TOKENS)
    assert (last["live"], last["tokens"], last["data"]) == (False, [], "")
    assert trace.payload(TOKENS + 1) is None


def test_a_row_of_another_length_is_not_taken():
    trace = grown(3)
    for wrong in (TOKENS, TOKENS + 2):
        trace.add_row("x", torch.ones(LAYERS, HEADS, wrong))
    assert trace.payload()["n"] == TOKENS


def test_traces_are_found_by_their_key_only():
    traces = LiveTraces()
    mine = traces.begin(LAYERS, HEADS)
    other = traces.begin(LAYERS, HEADS)
    for trace, token in ((mine, "mine"), (other, "secret")):
        trace.add_prompt([token], torch.ones(LAYERS, HEADS, 1, 1))
    assert mine.key != other.key
    assert min(len(mine.key), len(other.key)) >= 16  # 12 random bytes
    assert traces.rows_since(mine.key, 0)["tokens"] == ["mine"]
    for guess in ("", "0", other.key[:-1], other.key.lower() + "x"):
        assert traces.rows_since(guess, 0) is None


def test_the_oldest_traces_go_first():
    traces = LiveTraces()
    made = [traces.begin(1, 1) for _ in range(KEPT + 1)]
    for trace in made:
        trace.add_prompt(["t"], torch.ones(1, 1, 1, 1))
    keys = [trace.key for trace in made]
    assert traces.rows_since(keys[0], 0) is None
    assert traces.rows_since(keys[1], 0)["key"] == keys[1]


def test_readers_see_whole_rows_while_a_stream_writes():
    trace, weights, ready = LiveTrace("key", LAYERS, HEADS), rows(), threading.Event()
    trace.add_prompt(["t0"], weights[:, :, :1, :1])
    seen: list[dict] = []

    def read():
        known = 0
        while known < TOKENS:
            part = trace.payload(known)
            ready.set()
            if part is not None:
                seen.append(part)
                known = part["n"]

    reader = threading.Thread(target=read)
    reader.start()
    ready.wait()
    for t in range(1, TOKENS):
        trace.add_row(f"t{t}", weights[:, :, t, : t + 1])
    reader.join()
    assert [token for part in seen for token in part["tokens"]] == [f"t{i}" for i in range(TOKENS)]
    data = b"".join(base64.b64decode(part["data"]) for part in seen)
    assert data == base64.b64decode(trace.payload()["data"])
