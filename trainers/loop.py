"""The training loop: a generator of reports. It starts no threads and touches no files.

Shapes: B sequences a batch, T tokens each (block_size), V size of the vocabulary.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from picogpt.checkpoint import choose_device
from picogpt.engine import Engine
from picogpt.errors import PicoGPTError
from picogpt.model import GPT
from picogpt.sampling import SamplingConfig
from trainers.config import TrainConfig
from trainers.corpus import Corpus, training_batch, validation_blocks
from trainers.metrics import StepMetrics, bits_per_byte
from trainers.optim import build_optimizers, rate, set_rate, zero_output_projections

REPORT_SECONDS = 0.25
"""About how often a report is made, so that a stop is noticed soon and reading losses is cheap."""


class TrainingFailed(PicoGPTError):  # noqa: N818
    """The loss is no longer a finite number."""


@dataclass
class TrainState:
    """All that changes while a run goes on."""

    model: GPT
    optimizers: list[torch.optim.Optimizer]
    step: int = 0
    """Optimizer steps done."""
    seconds: float = 0.0
    """Seconds of training so far."""
    best_val_loss: float = field(default=float("inf"))
    """Lowest validation loss so far, nats a token."""


def new_state(config: TrainConfig, corpus: Corpus) -> TrainState:
    """A fresh model with its optimizers, decided by `config.seed` alone.

    Raises:
        ConfigError: the sizes do not fit each other, or there is no such device.
    """
    torch.manual_seed(config.seed)
    model = GPT(config.model(corpus.tokenizer.vocab_size))
    zero_output_projections(model)
    model.to(choose_device(config.device))
    return TrainState(model, build_optimizers(model, config))


def uses_bfloat16(config: TrainConfig, device: torch.device) -> bool:
    """Whether matrix products run in bfloat16; see `TrainConfig.dtype`."""
    if config.dtype != "auto":
        return config.dtype == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    fast_cpu = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return fast_cpu and config.n_embd >= 256


def autocast(config: TrainConfig, device: torch.device) -> AbstractContextManager:
    """The context in which forward passes of this run are computed."""
    if uses_bfloat16(config, device):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def train(state: TrainState, corpus: Corpus, config: TrainConfig) -> Iterator[StepMetrics]:
    """Train, one report every few steps, until steps, seconds or the target loss are reached.

    Each report comes right after an optimizer step, so whoever holds the generator may pause,
    save `state` or walk away between two reports and nothing is half done. Evaluations and
    samples happen at fixed steps and change no random state, so a run that is saved and resumed
    equals one that was not, bit for bit on a CPU.

    Args:
        state: changed in place.
        corpus: gives batches and the validation text.
        config: the recipe.

    Raises:
        TrainingFailed: the loss became infinite or not a number.
    """
    device = state.model.device
    clock = _Clock(state.seconds)
    losses: list[Tensor] = []
    while state.step < config.steps:
        progress = state.step / config.steps
        if config.seconds:
            progress = max(progress, state.seconds / config.seconds)
        share = rate(config, state.step, progress)
        set_rate(state.optimizers, config, share)
        losses.append(one_step(state, corpus, config, device))
        state.step += 1
        state.seconds = clock.now()
        over = state.step == config.steps or bool(
            config.seconds and state.seconds >= config.seconds
        )
        evaluate = over or state.step % config.eval_every == 0
        if not (evaluate or clock.report_due() or _sample_due(config, state.step)):
            continue
        train_loss = float(torch.stack(losses).mean())  # the one synchronisation of a report
        if not np.isfinite(train_loss):
            raise TrainingFailed(
                f"The loss is no longer a number after step {state.step}. The last good weights "
                "are kept. Start again with smaller learning rates."
            )
        speed = len(losses) * config.tokens_per_step / clock.since_report()
        losses.clear()
        val_loss = bits = sample = None
        if evaluate:
            val_loss, bits = evaluate_loss(state.model, corpus, config)
        if _sample_due(config, state.step) or (over and config.sample_every):
            sample = write_sample(state.model, corpus, config)
        state.seconds = clock.now()
        yield StepMetrics(
            state.step, state.step * config.tokens_per_step, state.seconds, train_loss,
            config.muon_lr * share, speed, val_loss, bits, sample,
        )  # fmt: skip
        clock.resume(state.seconds)
        reached = config.target_val_loss and val_loss is not None
        if over or (reached and val_loss <= config.target_val_loss):
            return


def one_step(
    state: TrainState, corpus: Corpus, config: TrainConfig, device: torch.device
) -> Tensor:
    """One optimizer step; returns its loss as a scalar still on the device."""
    state.model.train()
    torch.manual_seed(config.seed * 1_000_003 + state.step)  # dropout depends on the step alone
    inputs, targets = training_batch(
        corpus.train,
        state.step,
        config.batch_size,
        config.block_size,
        config.seed,
        corpus.starts,
    )
    idx = torch.from_numpy(inputs).to(device)  # (B, T)
    with autocast(config, device):
        _, loss = state.model(idx, torch.from_numpy(targets).to(device))
    loss.backward()
    for optimizer in state.optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return loss.detach()


def _sample_due(config: TrainConfig, step: int) -> bool:
    return bool(config.sample_every) and step % config.sample_every == 0


@torch.no_grad()
def evaluate_loss(model: GPT, corpus: Corpus, config: TrainConfig) -> tuple[float, float]:
    """Loss on the validation text: nats a token, and bits a byte.

    With a target loss set, the whole text is scored; otherwise at most `eval_tokens` of it, the
    same ones every time.

    Raises:
        TrainingFailed: the loss is infinite or not a number.
    """
    block = config.eval_block or config.block_size
    limit = 0 if config.target_val_loss else config.eval_tokens
    inputs, targets = validation_blocks(corpus.val, block, limit)
    device, was_training = model.device, model.training
    model.eval()
    rows = max(1, 8192 // block)
    total = 0.0
    with autocast(config, device):
        for at in range(0, len(inputs), rows):
            idx = torch.from_numpy(inputs[at : at + rows]).to(device)
            _, loss = model(idx, torch.from_numpy(targets[at : at + rows]).to(device))
            total += float(loss) * len(idx)
    model.train(was_training)
    loss = total / len(inputs)
    if not np.isfinite(loss):
        raise TrainingFailed(
            "The validation loss is no longer a number. The last good weights are kept. "
            "Start again with smaller learning rates."
        )
    return loss, bits_per_byte(loss, targets, corpus.token_bytes)


def score(
    state: TrainState, corpus: Corpus, config: TrainConfig, report: StepMetrics
) -> StepMetrics:
    """`report` with the validation loss of the weights as they are now."""
    val_loss, bits = evaluate_loss(state.model, corpus, config)
    return dataclasses.replace(report, val_loss=val_loss, bits_per_byte=bits, sample=None)


def write_sample(model: GPT, corpus: Corpus, config: TrainConfig) -> str:
    """A short text by the model as it is now, from the same start and seed every time."""
    was_training = model.training
    start = [int(i) for i in corpus.val[: min(8, len(corpus.val))]]
    special = corpus.tokenizer.special_tokens
    if corpus.chat and "<|user|>" in special:
        start = [special["<|user|>"], *corpus.tokenizer.encode("hello, who are you?"),
                 special["<|end|>"], special["<|assistant|>"]]  # fmt: skip
    steps = Engine(model).stream(
        start, SamplingConfig(seed=config.seed), config.sample_tokens,
        special.values(), alternatives=0,
    )  # fmt: skip
    ids = [step.id for step in steps]
    model.train(was_training)
    return corpus.tokenizer.decode(start + ids, skip_special=not corpus.chat)


class _Clock:
    """Seconds of training, with the time between a report and its successor left out."""

    def __init__(self, seconds: float) -> None:
        self._before = seconds
        self._start = self._reported = time.perf_counter()

    def now(self) -> float:
        return self._before + time.perf_counter() - self._start

    def report_due(self) -> bool:
        return self.since_report() >= REPORT_SECONDS

    def since_report(self) -> float:
        return max(1e-9, time.perf_counter() - self._reported)

    def resume(self, seconds: float) -> None:
        """Go on from `seconds`, whatever time has passed while a report was in others' hands."""
        self._before = seconds
        self._start = self._reported = time.perf_counter()
