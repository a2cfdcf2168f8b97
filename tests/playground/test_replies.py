"""Replies as they are written: what is sent when, what is said about it, what is recorded."""

from __future__ import annotations

import base64
import dataclasses
import threading

import numpy as np
import pytest

from picogpt import SamplingConfig
from picogpt.chat import Turn, render, stop_ids
from picogpt.engine import Engine
from picogpt.errors import ConfigError, PromptError, TokenizerError
from picogpt.pico import Pico, load
from playground import replies
from playground.live import LiveTraces
from playground.replies import Reply, chat_reply, completion
from tests import fakes

DICE = SamplingConfig(seed=3)
BLOCK = 64


class Clock:
    """A clock that a test moves; `step` seconds pass with every token."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 100.0, step

    def perf_counter(self) -> float:
        return self.now

    def tick(self, engine_steps):
        def steps(*args, **kwargs):
            for step in engine_steps(*args, **kwargs):
                self.now += self.step
                yield step

        return steps


@pytest.fixture
def clock(monkeypatch):
    """Makes time pass by a given number of seconds a token, and only then."""

    def start(step: float) -> Clock:
        clock = Clock(step)
        monkeypatch.setattr(replies, "time", clock)
        monkeypatch.setattr(Engine, "_steps", clock.tick(Engine._steps))
        return clock

    return start


@pytest.fixture(scope="module")
def pico(tmp_path_factory) -> Pico:
    """A model that talks until it is stopped."""
    return load(fakes.chat_checkpoint(tmp_path_factory.mktemp("replies") / "pico-chat", BLOCK))


def counts(updates) -> list[int]:
    """Tokens at each update (an update is one object that grows, so they are read at once)."""
    return [len(reply.steps) for reply in updates]


def last(updates) -> Reply:
    *_, reply = updates
    return reply


# --- when something is sent -------------------------------------------------------------------


def test_the_first_token_is_sent_at_once_and_the_others_in_batches(pico, clock):
    clock(1 / 32)
    sent = counts(completion(pico, "The", DICE, 8))
    assert sent == [1, 3, 5, 7, 8]  # every 60 ms, and the whole at the end


def test_slow_tokens_are_sent_one_by_one(pico, clock):
    clock(1.0)
    assert counts(completion(pico, "The", DICE, 4)) == [1, 2, 3, 4, 4]


def test_a_reply_may_not_take_for_ever(pico, clock):
    clock(50.0)
    reply = last(completion(pico, "The", DICE, 100))
    assert len(reply.steps) == 3
    assert reply.note == "The reply was ended after 120 seconds."


def test_speed_and_waiting_time_are_told_apart(pico, clock):
    clock(0.5)
    reply = last(completion(pico, "The", DICE, 5))
    assert (reply.first_seconds, reply.seconds, reply.tokens_per_second) == (0.5, 2.0, 2.0)
    assert reply.caption("pico-chat") == "pico-chat, seed 3, 5 tokens, 2 tokens/s"


def test_a_caption_of_one_token_names_no_speed(pico, clock):
    clock(0.5)
    assert last(completion(pico, "The", DICE, 1)).caption("m") == "m, seed 3, 1 token"
    assert Reply().caption("m") == "m, seed 0, 0 tokens"


# --- what is written --------------------------------------------------------------------------


def test_a_completion_is_what_the_model_writes(pico):
    reply = last(completion(pico, "The cat", DICE, 30))
    assert reply.text == pico.complete("The cat", 30, seed=3)
    assert len(reply.steps) == 30
    assert not reply.stopped
    assert reply.note == ""


def test_a_reply_is_what_the_chat_session_answers(pico):
    turns = [Turn("user", "Hi"), Turn("assistant", "Yes?"), Turn("user", "Who?")]
    session = pico.chat(seed=3, max_new_tokens=20)
    session.turns = turns[:2]
    assert last(chat_reply(pico, turns, DICE, 20)).text == session.reply("Who?")


def test_an_end_token_ends_a_reply(pico, monkeypatch):
    (end, *_) = stop_ids(pico.tokenizer)
    real = Engine._steps

    def ends(self, ids, *rest):
        for n, step in enumerate(real(self, ids, *rest)):
            yield step if n < 3 else dataclasses.replace(step, id=end)
            if n == 3:
                return

    monkeypatch.setattr(Engine, "_steps", ends)
    reply = last(chat_reply(pico, [Turn("user", "Hi")], DICE, 20))
    assert len(reply.steps) == 4
    assert "<|" not in reply.text
    assert not reply.stopped


def test_a_stop_ends_the_reply_within_one_token(pico):
    stop = threading.Event()
    updates = completion(pico, "The", DICE, 1000, stop)
    first = next(updates)
    stop.set()
    rest = list(updates)
    assert len(rest[-1].steps) <= 2
    assert first.stopped
    assert first.caption("m").endswith(", stopped")


def test_a_stop_before_the_first_token_leaves_an_empty_reply(pico):
    stop = threading.Event()
    stop.set()
    (reply,) = completion(pico, "The", DICE, 10, stop)
    assert (reply.text, reply.steps, reply.stopped) == ("", [], True)


def test_a_stream_that_is_closed_ends_its_trace(pico):
    traces = LiveTraces()
    updates = completion(pico, "The", DICE, 1000, traces=traces)
    key = next(updates).trace.key
    assert traces.rows_since(key, 0)["live"]
    updates.close()
    assert not traces.rows_since(key, 0)["live"]


# --- what is wrong is said before anything is written -----------------------------------------


def test_mistakes_are_raised_before_the_first_update(pico, tmp_path):
    for turns in ([], [Turn("user", " \n")]):
        with pytest.raises(PromptError, match="empty"):
            chat_reply(pico, turns, DICE, 5)
    chars = load(fakes.char_checkpoint(tmp_path / "chars"))
    with pytest.raises(ConfigError, match="not trained on conversations"):
        chat_reply(chars, [Turn("user", "Hi")], DICE, 5)
    with pytest.raises(TokenizerError, match=r"'é' \(U\+00E9\)"):
        completion(chars, "café", DICE, 5)
    with pytest.raises(PromptError, match="The prompt is empty"):
        completion(chars, "", DICE, 5)


# --- notes on what is not read ----------------------------------------------------------------


def test_a_long_text_is_said_to_be_cut(pico):
    ids = pico.encode_prompt("tea " * 100)
    reply = last(completion(pico, "tea " * 100, DICE, 1))
    assert reply.note == (
        f"The text has {len(ids)} tokens and the context holds {BLOCK}: only the newest part is "
        "read."
    )


def test_a_long_message_is_said_to_be_cut(pico):
    turns = [Turn("user", "tea " * 100)]
    cut = render(turns, pico.tokenizer, BLOCK, 1).cut_tokens
    assert last(chat_reply(pico, turns, DICE, 1)).note == (
        f"Your message is longer than the context of {BLOCK} tokens: its first {cut} tokens are "
        "not read."
    )


def test_old_messages_are_said_to_be_left_out(pico):
    turns = [Turn(role, "tea tea tea tea") for _ in range(9) for role in ("user", "assistant")]
    turns.append(Turn("user", "Hi"))
    dropped = render(turns, pico.tokenizer, BLOCK, 1).dropped_turns
    assert dropped > 0
    note = last(chat_reply(pico, turns, DICE, 1)).note
    assert note == (
        f"The context holds {BLOCK} tokens: the oldest messages ({dropped}) are no longer read."
    )


def test_a_context_that_fills_up_while_writing_is_said_once(pico):
    words = f"The context of {BLOCK} tokens became full: only the newest part is still read."
    assert last(completion(pico, "The", DICE, 4 * BLOCK)).note == words
    assert last(completion(pico, "The", DICE, 10)).note == ""


# --- the attention that is recorded -----------------------------------------------------------


def weights_of(payload: dict) -> list[np.ndarray]:
    """The rows of a payload: for each token (L, H, t + 1) of 0..255."""
    data = np.frombuffer(base64.b64decode(payload["data"]), np.uint8).astype(int)
    size, rows = payload["n_layer"] * payload["n_head"], []
    for t in range(payload["n"]):
        row, data = data[: size * (t + 1)], data[size * (t + 1) :]
        rows.append(row.reshape(payload["n_layer"], payload["n_head"], t + 1))
    return rows


def check_trace(pico: Pico, payload: dict, ids: list[int]) -> None:
    """A trace holds what the engine computes for the same ids in one pass without a cache."""
    weights = pico.engine.attention(ids).numpy()
    assert payload["tokens"] == [pico.tokenizer.token_text(i) for i in ids]
    for t, row in enumerate(weights_of(payload)):
        assert np.abs(row - weights[:, :, t, : t + 1] * 255).max() <= 1


def test_a_trace_equals_the_engines_attention(pico):
    traces = LiveTraces()
    turns = [Turn("user", "Hello there")]
    reply = last(chat_reply(pico, turns, DICE, 12, traces=traces))
    ids = render(turns, pico.tokenizer, BLOCK, 12).ids + [step.id for step in reply.steps]
    payload = traces.rows_since(reply.trace.key, 0)
    assert not payload["live"]
    check_trace(pico, payload, ids[:-1])  # the last token was chosen, not read


def test_a_full_context_starts_a_new_trace(pico):
    traces = LiveTraces()
    ids = pico.encode_prompt("The cat")
    found: dict[str, int] = {}
    for reply in completion(pico, "The cat", DICE, BLOCK + 5, traces=traces):
        found.setdefault(reply.trace.key, len(reply.steps))
    keys = list(found)
    assert len(keys) == 2
    old, new = (traces.rows_since(key, 0) for key in keys)
    assert not old["live"]
    ids += [step.id for step in reply.steps]
    check_trace(pico, old, ids[:BLOCK])
    dropped = reply.steps[-1].dropped
    assert dropped > 0
    check_trace(pico, new, ids[dropped:-1])


def test_a_prompt_longer_than_the_context_is_traced_from_its_newest_part(pico):
    traces = LiveTraces()
    ids = pico.encode_prompt("tea " * 100)
    (reply,) = {id(r): r for r in completion(pico, "tea " * 100, DICE, 1, traces=traces)}.values()
    check_trace(pico, traces.rows_since(reply.trace.key, 0), ids[-BLOCK:])


def test_without_traces_no_attention_is_computed(pico):
    reply = last(completion(pico, "The", DICE, 2))
    assert reply.trace is None
    assert all(step.attention is None for step in reply.steps)


def test_two_streams_of_one_model_do_not_disturb_each_other(pico, clock):
    alone = [last(completion(pico, text, DICE, 9)).text for text in ("The cat", "A dog")]
    clock(1.0)  # every token is an update
    pair = [completion(pico, text, DICE, 9) for text in ("The cat", "A dog")]
    for updates in zip(*pair, strict=True):
        texts = [reply.text for reply in updates]
    assert texts == alone
