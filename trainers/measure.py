"""What `bench` measures, without flags or printing.

Shapes: V size of the vocabulary, N ids of a text.
"""

from __future__ import annotations

import math
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from picogpt.checkpoint import choose_device
from picogpt.model import GPT
from picogpt.tokenizers import CharTokenizer
from trainers.config import TrainConfig
from trainers.corpus import Corpus, training_batch
from trainers.estimate import time_matmul, usual_vocab
from trainers.loop import (
    autocast,
    evaluate_loss,
    new_state,
    one_step,
    train,
    uses_bfloat16,
)
from trainers.presets import preset

DTYPES = ("float32", "bfloat16")
ROUNDS = 5
"""Timed rounds of one step of each; a round before them does not count."""
PLAIN_LR = 3e-3
"""Peak learning rate of the plain recipe: the best of 1e-3, 3e-3 and 6e-3 for `small` in 200 steps
on the stories (2.334, 2.283 and 2.416 nats; ours 1.993), so that it is compared at its best."""


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


def time_steps(configs: dict[str, TrainConfig], rounds: int | None = None) -> dict[str, Timing]:
    """Time whole training steps of several recipes, taking turns.

    Args:
        configs: a name -> a recipe; all on one device and with one vocabulary.
        rounds: steps of each that are timed; `ROUNDS` when None.
    """
    first = next(iter(configs.values()))
    device = choose_device(first.device)
    corpus = random_corpus(usual_vocab(first))
    states, timings = {}, {name: Timing() for name in configs}
    for name, config in configs.items():
        states[name] = new_state(config, corpus)
        _time_muon(states[name].optimizers[0], timings[name].muon, device)
    for _ in range((rounds or ROUNDS) + 1):
        for name, config in configs.items():
            bfloat16 = uses_bfloat16(config, device)
            timings[name].peak.append(time_matmul(device.type, bfloat16, repeats=3))
            start = _now(device)
            one_step(states[name], corpus, config, device)
            timings[name].steps.append(_now(device) - start)
            states[name].step += 1
    for timing in timings.values():
        del timing.steps[0], timing.muon[0], timing.peak[0]
    return timings


def _time_muon(muon: torch.optim.Optimizer, seconds: list[float], device: torch.device) -> None:
    """Have every step of an optimizer append its seconds."""

    def before(*_: object) -> None:
        seconds.append(-_now(device))

    def after(*_: object) -> None:
        seconds[-1] += _now(device)

    muon.register_step_pre_hook(before)
    muon.register_step_post_hook(after)


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
    tiny = preset("small", n_layer=1, block_size=16, batch_size=1, dtype=config.dtype,
                  device=config.device)  # fmt: skip
    _take_steps(tiny)  # loads the kernels, which are not the model's
    before = _peak_bytes(device)
    _take_steps(config)
    after = _peak_bytes(device)
    return None if before is None or after is None else after - before


def _take_steps(config: TrainConfig) -> None:
    corpus = random_corpus(usual_vocab(config))
    state = new_state(config, corpus)
    for _ in range(3):
        one_step(state, corpus, config, state.model.device)
        state.step += 1


def _peak_bytes(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").split("\n")
    except OSError:  # not Linux
        return None
    peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
    return peaks[0] if peaks and device.type == "cpu" else None


# --- recipes ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """How a whole run ended."""

    val_loss: float
    """Nats a token on the validation text."""
    bits_per_byte: float
    seconds: float
    """Seconds of training and scoring."""


def train_ours(config: TrainConfig, corpus: Corpus) -> Outcome:
    """Train with our recipe: Muon and AdamW, plateau and straight fall, identity blocks."""
    *_, last = train(new_state(config, corpus), corpus, config)
    return Outcome(last.val_loss, last.bits_per_byte, last.seconds)


def train_plain(config: TrainConfig, corpus: Corpus, peak: float = PLAIN_LR) -> Outcome:
    """Train the same shape on the same batches in the plain way.

    AdamW on everything with weight decay 0.1 on matrices, 5 % warmup, cosine to a tenth,
    gradients clipped to norm 1, GPT-2's initial weights; as in karpathy/nanoGPT.
    """
    start = time.perf_counter()
    torch.manual_seed(config.seed)
    device = choose_device(config.device)
    model = GPT(config.model(corpus.tokenizer.vocab_size)).to(device).train()
    matrices = [p for p in model.parameters() if p.dim() == 2]
    rest = [p for p in model.parameters() if p.dim() != 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.95))
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = peak * _cosine(step, config.steps)
        inputs, targets = training_batch(
            corpus.train, step, config.batch_size, config.block_size, config.seed, corpus.starts
        )
        idx = torch.from_numpy(inputs).to(device)  # (B, T)
        with autocast(config, device):
            _, loss = model(idx, torch.from_numpy(targets).to(device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    val_loss, bits = evaluate_loss(model, corpus, config)
    return Outcome(val_loss, bits, time.perf_counter() - start)


def _cosine(step: int, steps: int) -> float:
    """Share of the peak: a rise over 5 % of the steps, then half a cosine down to a tenth."""
    warmup = max(1, steps // 20)
    if step < warmup:
        return (step + 1) / warmup
    return 0.55 + 0.45 * math.cos(math.pi * (step - warmup) / max(1, steps - warmup))
