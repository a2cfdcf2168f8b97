"""A step's batch on several cores: one thread each, on its own rows, with gradients of its own.

PyTorch can split every single operation over the cores instead. That is as fast on an idle machine
but makes all cores wait for the slowest after each of some thousand operations of a step: with one
other busy process on two cores, a step took 3 to 30 times as long. Here they wait once a step.
And because the parts are the same however many cores compute them, so is the result. (With dropout
there are no threads, because all would draw from the same dice.)
"""

from __future__ import annotations

import contextlib
import copy
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TypeVar

import torch

from picogpt.model import GPT

Item, Result = TypeVar("Item"), TypeVar("Result")
Each = Callable[[Callable[[Item], Result], Sequence[Item]], list[Result]]
"""A function like `one_by_one`, which may do several at the same time."""

_SETTING = threading.Lock()


def one_by_one(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`work` done on every item."""
    return [work(item) for item in items]


class Workers:
    """Models that share their weights, and the threads that compute with them.

    Args:
        model: on which device it is decides whether there are threads: only a CPU needs them.
        count: parts that work is cut into.
        at_a_time: threads; as many as there are cores, at most `count`, when None.
    """

    def __init__(self, model: GPT, count: int, at_a_time: int | None = None) -> None:
        self.models = [model, *(_twin(model) for _ in range(count - 1))]
        threads = min(count, at_a_time or available_cores())
        self._pool = None
        if threads > 1 and model.device.type == "cpu":
            self._pool = ThreadPoolExecutor(threads, "train", initializer=use_one_core)

    @property
    def parallel(self) -> bool:
        """Whether there are threads."""
        return self._pool is not None

    def waiting(self) -> AbstractContextManager[None]:
        """What the calling thread computes inside leaves the other cores to the threads."""
        return one_core() if self.parallel else contextlib.nullcontext()

    def each(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """`work` done on every item, at the same time where there are threads."""
        if self._pool is None:
            return one_by_one(work, items)
        return list(self._pool.map(work, items))

    def add_gradients(self) -> None:
        """Give the first model the sum of all models' gradients, and the others none."""
        own = [p.grad for p in self.models[0].parameters()]
        for other in self.models[1:]:
            theirs = [p.grad for p in other.parameters()]
            if theirs[0] is not None:  # it had rows
                torch._foreach_add_(own, theirs)
            other.zero_grad(set_to_none=True)


def _twin(model: GPT) -> GPT:
    """A model whose parameters are the same memory, and whose gradients are not."""
    twin = copy.deepcopy(model)
    for p, shared in zip(twin.parameters(), model.parameters(), strict=True):
        p.data = shared.data
    return twin


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Have the calling thread, and no other, compute on one core inside."""
    usual = torch.get_num_threads()
    use_one_core()
    try:
        yield
    finally:
        torch.set_num_threads(usual)


def use_one_core() -> None:
    """Have the calling thread, and no other, compute on one core."""
    with _SETTING:  # or the next would take our 1 for what is usual
        usual = torch.get_num_threads()
        torch.set_num_threads(1)  # this also decides what new threads begin with
        new = threading.Thread(target=torch.set_num_threads, args=(usual,))  # this takes that back
        new.start()
        new.join()
