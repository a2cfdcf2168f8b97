"""What `bench` measures, without flags or printing.

A subject is one model on one device. Subjects take turns (A B A B ...), so that a machine that
slows down while it measures slows all of them, and every figure is a median.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from picogpt.engine import Engine

PROMPTS = (16, 128, 250)
"""Lengths of the prompts whose first token is timed, in tokens."""
PREFILL_ROUNDS = 5
DECODE_ROUNDS = 3
DECODE_TOKENS = 100
"""Tokens generated after the first in a decode run, from a prompt of `PROMPTS[0]` tokens."""
TOP_K = 20
NOISY = 1.3
"""A `spread` above this says that something else was using the machine."""
SIZE_VOCAB = 4096
"""Token ids of a model made of random weights."""


@dataclass(frozen=True)
class Source:
    """Where a model comes from; enough to load it again in another process."""

    name: str
    folder: str | None = None
    """A checkpoint folder; None for random weights of the size called `name`."""

    def engine(self, device: str) -> Engine:
        """Load the model onto `device`.

        Raises:
            PicoGPTError: no such size or device, or a damaged folder.
        """
        from picogpt.checkpoint import choose_device, load_checkpoint
        from picogpt.config import named_config
        from picogpt.engine import Engine
        from picogpt.model import GPT

        if self.folder is not None:
            return Engine(load_checkpoint(self.folder, device).model)
        model = GPT(named_config(self.name, SIZE_VOCAB))
        return Engine(model.to(choose_device(device)))


@dataclass
class Subject:
    """One model on one device, and its measurements."""

    source: Source
    device: str
    engine: Engine
    prefill: dict[int, list[float]] = field(default_factory=dict)
    """Length of the prompt in tokens -> seconds to the first token, one a round."""
    decode: list[float] = field(default_factory=list)
    """Tokens a second after the first, one a round."""
    traced: list[float] = field(default_factory=list)
    """The same while every step carries its attention rows."""
    memory: dict[str, int | None] = field(default_factory=dict)
    """What `measure_memory` gives."""

    def result(self) -> dict:
        """The medians, as `--json` prints them; prompts beyond the context are None.

        `spread` is the fastest decode run over the slowest: 1 on a quiet machine.
        """
        from picogpt.cli.hardware import device_name, threads

        return {
            "model": self.source.name,
            "device": self.device,
            "device_name": device_name(self.device),
            "threads": threads(),
            "parameters": self.engine.model.num_parameters(),
            "prefill_seconds": {
                str(length): statistics.median(seconds) if seconds else None
                for length, seconds in self.prefill.items()
            },
            "decode_tokens_per_second": statistics.median(self.decode),
            "traced_tokens_per_second": statistics.median(self.traced),
            "spread": max(max(runs) / min(runs) for runs in (self.decode, self.traced)),
        } | self.memory


def measure(subjects: list[Subject]) -> None:
    """Fill in the speeds of all subjects, taking turns; a round before the first does not count."""
    for subject in subjects:
        _round(subject, decode=True, tokens=8)
        subject.prefill, subject.decode, subject.traced = {}, [], []
    for number in range(PREFILL_ROUNDS):
        for subject in subjects:
            _round(subject, decode=number < DECODE_ROUNDS, traced_first=number % 2 == 1)


def _round(
    subject: Subject, decode: bool, tokens: int = DECODE_TOKENS, traced_first: bool = False
) -> None:
    for length in PROMPTS:
        seconds = subject.prefill.setdefault(length, [])
        if length <= subject.engine.config.block_size:
            seconds.append(first_token_seconds(subject.engine, length))
    if decode:
        for traced in (traced_first, not traced_first):
            speeds = subject.traced if traced else subject.decode
            speeds.append(tokens_per_second(subject.engine, tokens, traced))


def first_token_seconds(engine: Engine, length: int) -> float:
    """Seconds from a prompt of `length` tokens to the first generated one."""
    from picogpt.sampling import SamplingConfig

    ids, sampling = _prompt(engine, length), SamplingConfig(top_k=TOP_K, seed=1)
    start = time.perf_counter()
    next(engine.stream(ids, sampling, 1))  # choosing needs the logits, so a GPU has finished
    return time.perf_counter() - start


def tokens_per_second(engine: Engine, tokens: int, traced: bool = False) -> float:
    """Speed of `tokens` tokens after the first; `traced` steps carry their attention rows."""
    from picogpt.sampling import SamplingConfig

    length = min(PROMPTS[0], engine.config.block_size)
    sampling = SamplingConfig(top_k=TOP_K, seed=1)
    steps = engine.stream(_prompt(engine, length), sampling, tokens + 1, attention=traced)
    next(steps)
    start = time.perf_counter()
    count = sum(1 for _ in steps)
    return count / (time.perf_counter() - start)


def _prompt(engine: Engine, length: int) -> list[int]:
    """Random ids, the same every time."""
    dice = random.Random(length)
    return [dice.randrange(engine.config.vocab_size) for _ in range(length)]


# --- memory: a process of its own for each model ----------------------------------------------


def measure_memory(source: Source, device: str) -> dict[str, int | None]:
    """Memory of a fresh process that loads one model and generates a few tokens.

    Returns:
        In bytes, None where it cannot be known: `resident_bytes` of the process afterwards,
        `resident_before_bytes` with Python and PyTorch alone, `device_bytes` at most on a GPU.
    """
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    order = json.dumps({"name": source.name, "folder": source.folder, "device": device})
    child = subprocess.run(
        [sys.executable, "-m", "picogpt.cli.measure", order],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if child.returncode:
        return dict.fromkeys(("resident_bytes", "resident_before_bytes", "device_bytes"))
    return json.loads(child.stdout)


def _child(order: str) -> None:
    """The fresh process: print the memory of the model in `order` as JSON."""
    import torch

    from picogpt.cli.hardware import resident_bytes

    asked = json.loads(order)
    before = resident_bytes()
    engine = Source(asked["name"], asked["folder"]).engine(asked["device"])
    tokens_per_second(engine, 20)
    on_gpu = engine.device.type == "cuda"
    print(
        json.dumps(
            {
                "resident_bytes": resident_bytes(),
                "resident_before_bytes": before,
                "device_bytes": torch.cuda.max_memory_allocated() if on_gpu else None,
            }
        )
    )


if __name__ == "__main__":
    _child(sys.argv[1])
