"""A batch cut into parts gives the gradients of the whole, however many cores compute them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.fakes import tiny_model
from tests.trainers.small import begin, gradients, same
from trainers import loop
from trainers.corpus import training_batch
from trainers.loop import TrainState, evaluate_loss, one_step, train
from trainers.optim import build_optimizers
from trainers.workers import Workers, available_cores, one_core, use_one_core

LONG = 60
"""Seconds until a test that waits in vain gives up."""


def with_workers(state: TrainState, config, count: int, at_a_time: int | None = None) -> TrainState:
    """The state with other workers."""
    state.workers = Workers(state.model, count, at_a_time)
    state.optimizers = build_optimizers(state.model, config, state.workers.each)
    return state


# --- gradients --------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 6])
def test_gradients_are_those_of_the_whole_batch(tmp_path, workers: int, batch_size: int) -> None:
    """The oracle is one forward and backward pass over all rows."""
    config, corpus, state = begin(tmp_path, batch_size=batch_size)
    inputs, targets = training_batch(corpus.train, 0, batch_size, 16, config.seed)
    expected_loss = state.model(torch.from_numpy(inputs), torch.from_numpy(targets))[1]
    expected = torch.autograd.grad(expected_loss, list(state.model.parameters()))
    loss, found = gradients(with_workers(state, config, workers), corpus, config)
    assert loss == pytest.approx(expected_loss.item(), abs=1e-6)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_threads_change_no_bit(tmp_path, dtype: str) -> None:
    states, losses = [], []
    for at_a_time in (1, 2):
        config, corpus, state = begin(
            tmp_path, steps=6, batch_size=5, dtype=dtype, n_layer=2, weight_decay=0.1
        )
        with_workers(state, config, 3, at_a_time)
        assert state.workers.parallel == (at_a_time == 2)
        reports = list(train(state, corpus, config))
        states.append(state)
        losses.append((reports[-1].val_loss, reports[-1].sample))
    assert same(states[0].model, states[1].model)
    assert same(states[0].average, states[1].average)
    assert losses[0] == losses[1]


def test_evaluation_in_parts_is_the_same(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(loop, "SCORED_AT_ONCE", 48)  # three rows a part
    config, corpus, state = begin(tmp_path, eval_tokens=0)
    pool = Workers(state.model, 2, 2)
    assert evaluate_loss(state.model, corpus, config, each=pool.each) == evaluate_loss(
        state.model, corpus, config
    )


# --- twins ------------------------------------------------------------------------------------


def test_twins_share_weights_and_not_gradients(tmp_path) -> None:
    config, corpus, state = begin(tmp_path, batch_size=6)
    with_workers(state, config, 3, 1)
    first, *others = state.workers.models
    assert first is state.model
    assert len(others) == 2
    assert all(twin.lm_head.weight is twin.transformer["wte"].weight for twin in others)
    one_step(state, corpus, config, state.model.device)
    first.load_state_dict({k: v + 1 for k, v in first.state_dict().items()})
    for twin in others:
        for p, shared in zip(twin.parameters(), first.parameters(), strict=True):
            assert p is not shared
            assert p.data_ptr() == shared.data_ptr()
            assert p.grad is None  # handed over
        assert same(twin, first)


def test_gradients_are_added_up() -> None:
    workers = Workers(tiny_model(), 3, 1)
    for number, model in enumerate(workers.models):
        for p in model.parameters():
            p.grad = torch.full_like(p, 10.0**number)
    workers.models[2].zero_grad()  # it had no rows
    workers.add_gradients()
    assert all((p.grad == 11).all() for p in workers.models[0].parameters())
    assert all(p.grad is None for model in workers.models[1:] for p in model.parameters())


# --- threads ----------------------------------------------------------------------------------


def test_results_come_in_order() -> None:
    for at_a_time in (1, 2):
        workers = Workers(tiny_model(), 2, at_a_time)
        assert workers.each(lambda x: x * x, range(9)) == [x * x for x in range(9)]


def test_both_work_at_the_same_time() -> None:
    meeting = threading.Barrier(2)
    workers = Workers(tiny_model(), 2, 2)
    assert sorted(workers.each(lambda _: meeting.wait(LONG), range(2))) == [0, 1]


def test_a_failure_is_passed_on() -> None:
    def fail(number: int) -> int:
        if number == 1:
            raise ValueError("number 1")
        return number

    for at_a_time in (1, 2):
        workers = Workers(tiny_model(), 2, at_a_time)
        with pytest.raises(ValueError, match="number 1"):
            workers.each(fail, range(3))
        assert workers.each(abs, [-1, -2]) == [1, 2]  # and it works on


def test_one_part_needs_no_thread() -> None:
    assert not Workers(tiny_model(), 1).parallel
    assert not Workers(tiny_model(), 1, 4).parallel
    assert not Workers(tiny_model(), 4, 1).parallel
    assert Workers(tiny_model(), 2).parallel == (available_cores() > 1)


@pytest.fixture
def three() -> Iterator[None]:
    """Every thread computes on three, this one too."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


class Other:
    """A thread that lives beside the test and is asked things."""

    def __init__(self) -> None:
        self._asked, self._answers = queue.Queue(), queue.Queue()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        for question in iter(self._asked.get, None):
            self._answers.put(question())

    def ask(self, question: Callable[[], int | None]) -> int | None:
        self._asked.put(question)
        return self._answers.get(timeout=LONG)


@pytest.fixture
def other(three) -> Iterator[Other]:
    thread = Other()
    assert thread.ask(torch.get_num_threads) == 3
    yield thread
    thread._asked.put(None)


def counts(other: Other) -> tuple[int, int, int]:
    """How many threads are used by this one, by another, and by one that is new."""
    return torch.get_num_threads(), other.ask(torch.get_num_threads), in_a_new_thread()


def in_a_new_thread() -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result(LONG)


def test_one_core_is_for_this_thread_alone(other) -> None:
    with one_core():
        assert counts(other) == (1, 3, 3)
    assert counts(other) == (3, 3, 3)
    with pytest.raises(ZeroDivisionError), one_core():
        raise ZeroDivisionError
    assert counts(other) == (3, 3, 3)


def test_use_one_core_is_for_its_thread_alone(other) -> None:
    another = Other()
    another.ask(use_one_core)
    assert another.ask(torch.get_num_threads) == 1
    assert counts(other) == (3, 3, 3)


def test_many_that_begin_at_once_leave_the_others_alone(other) -> None:
    """Each finds out what is usual while the others change it."""
    for _ in range(20):
        meeting = threading.Barrier(6)

        def begin(meeting: threading.Barrier = meeting) -> int:
            meeting.wait(LONG)
            use_one_core()
            return torch.get_num_threads()

        with ThreadPoolExecutor(6) as pool:
            assert [f.result(LONG) for f in [pool.submit(begin) for _ in range(6)]] == [1] * 6
        assert counts(other) == (3, 3, 3)


def test_training_leaves_the_others_alone(tmp_path, other) -> None:
    config, corpus, state = begin(tmp_path)
    with_workers(state, config, 2, 2)
    reports = train(state, corpus, config)
    next(reports)
    assert counts(other) == (1, 3, 3)  # this thread is the one that trains
    assert set(state.workers.each(lambda _: torch.get_num_threads(), range(9))) == {1}
    reports.close()
    assert counts(other) == (3, 3, 3)
