"""What `bench` measures, without flags or printing.

Shapes: V size of the vocabulary, N ids of a text.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from picogpt.checkpoint import choose_device
from picogpt.tokenizers import CharTokenizer
from trainers.config import TrainConfig
from trainers.corpus import Corpus
from trainers.estimate import time_matmul, usual_vocab
from trainers.loop import TrainState, new_state, one_step, uses_bfloat16
from trainers.optimizer import Optimizer
from trainers.presets import preset

DTYPES = ("float32", "bfloat16")
RIVAL = "transformers"
ROUNDS = 5
"""Timed rounds of one step of each; a round before them does not count."""


# --- speed ------------------------------------------------------------------------------------


@dataclass
class Timing:
    """What was timed of one recipe, a number a round."""

    steps: list[float] = field(default_factory=list)
    """Seconds of a whole step."""
    muon: list[float] = field(default_factory=list)
    """Seconds of Muon's part in it."""
    peak: list[float] = field(default_factory=list)
    """Floating-point operations a second of matrix products alone, just before the step."""


def random_corpus(vocab_size: int, ids: int = 50_000) -> Corpus:
    """A text of random ids: (N,) each of `vocab_size`."""
    tokenizer = CharTokenizer([chr(0x4E00 + i) for i in range(vocab_size)])
    train = np.random.default_rng(1).integers(0, vocab_size, ids).astype(np.uint16)
    token_bytes = np.array(tokenizer.byte_lengths(), dtype=np.int64)
    return Corpus("random", "", ids, tokenizer, train, train[:5000], token_bytes)


def time_steps(
    configs: dict[str, TrainConfig], rounds: int | None = None, rival: bool = False
) -> dict[str, Timing]:
    """Time whole training steps of several recipes, taking turns.

    Args:
        configs: a name -> a recipe; all on one device, of one shape and with one vocabulary.
        rounds: steps of each that are timed; `ROUNDS` when None.
        rival: time `transformers` too, under that name; see `rival_step`.
    """
    first = next(iter(configs.values()))
    device = choose_device(first.device)
    corpus = random_corpus(usual_vocab(first))
    steps, timings = {}, {name: Timing() for name in configs}
    for name, config in configs.items():
        state = new_state(config, corpus)
        _time_muon(state.optimizers[0], timings[name].muon, device)
        steps[name] = functools.partial(_step, state, corpus, config, device)
    if rival:
        configs = configs | {RIVAL: dataclasses.replace(first, dtype="float32")}
        timings[RIVAL], steps[RIVAL] = Timing(), rival_step(first, corpus, device)
    for _ in range((rounds or ROUNDS) + 1):
        for name, config in configs.items():
            bfloat16 = uses_bfloat16(config, device)
            timings[name].peak.append(time_matmul(device.type, bfloat16, repeats=3))
            start = _now(device)
            steps[name]()
            timings[name].steps.append(_now(device) - start)
    for timing in timings.values():
        del timing.steps[0], timing.muon[:1], timing.peak[0]
    return timings


def _step(state: TrainState, corpus: Corpus, config: TrainConfig, device: torch.device) -> None:
    with state.workers.waiting():
        one_step(state, corpus, config, device)
    state.step += 1


def rival_step(config: TrainConfig, corpus: Corpus, device: torch.device) -> Callable[[], None]:
    """A training step of the `transformers` library's GPT-2 of the same shape and batch.

    A plain float32 loop with `torch.optim.AdamW`, all sequences at once.
    """
    library = importlib.import_module(RIVAL)  # only where somebody has installed it
    shape = library.GPT2Config(
        vocab_size=corpus.tokenizer.vocab_size, n_positions=config.block_size,
        n_embd=config.n_embd, n_layer=config.n_layer, n_head=config.n_head,
        resid_pdrop=config.dropout, embd_pdrop=config.dropout, attn_pdrop=config.dropout,
    )  # fmt: skip
    model = library.GPT2LMHeadModel(shape).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    places = np.random.default_rng(1)

    def step() -> None:
        begin = places.integers(0, len(corpus.train) - config.block_size, config.batch_size)
        rows = corpus.train[begin[:, None] + np.arange(config.block_size)].astype(np.int64)
        idx = torch.from_numpy(rows).to(device)  # (B, T)
        model(idx, labels=idx).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _time_muon(muon: Optimizer, seconds: list[float], device: torch.device) -> None:
    """Have every step of an optimizer append its seconds."""
    step = muon.step

    def timed() -> None:
        start = _now(device)
        step()
        seconds.append(_now(device) - start)

    muon.step = timed


def _now(device: torch.device) -> float:
    """Seconds on a clock, once the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


# --- memory -----------------------------------------------------------------------------------


def memory(config: TrainConfig) -> int | None:
    """Bytes that training takes at its peak, over what a process with PyTorch takes anyway.

    A fresh process takes the steps. None where the system does not tell (no CUDA, not Linux).
    """
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=fresh) as pool:
        return pool.submit(_peak_of_steps, config).result()


def _peak_of_steps(config: TrainConfig) -> int | None:
    device = choose_device(config.device)
    tiny = preset("small", n_layer=1, block_size=16, short_block=0, batch_size=2, workers=2,
                  dtype=config.dtype, device=config.device)  # fmt: skip
    _take_steps(tiny)  # loads the kernels, which are not the model's
    before = _peak_bytes(device)
    _take_steps(config)
    after = _peak_bytes(device)
    return None if before is None or after is None else after - before


def _take_steps(config: TrainConfig) -> None:
    corpus = random_corpus(usual_vocab(config))
    state = new_state(config, corpus)
    for _ in range(3):
        _step(state, corpus, config, state.model.device)


def _peak_bytes(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").split("\n")
    except OSError:  # not Linux
        return None
    peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
    return peaks[0] if peaks and device.type == "cpu" else None
