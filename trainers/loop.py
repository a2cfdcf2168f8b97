"""The training loop: a generator of reports. It starts no threads and touches no files.

Shapes: B sequences a batch, T tokens each (block_size), V size of the vocabulary.
"""

from __future__ import annotations

import copy
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
from picogpt.model import GPT, IGNORE
from picogpt.sampling import SamplingConfig
from trainers.config import TrainConfig
from trainers.corpus import Corpus, training_batch, validation_blocks
from trainers.init import begin
from trainers.metrics import StepMetrics, bits_per_byte
from trainers.optim import build_optimizers, fast_bfloat16, rate, set_rate
from trainers.optimizer import Optimizer
from trainers.workers import Each, Workers, one_by_one

REPORT_SECONDS = 0.25
"""About how often a report is made, so that a stop is noticed soon and reading losses is cheap."""
SCORED_AT_ONCE = 2048
"""Tokens in one forward pass of an evaluation; more are no faster and take more memory."""
LONG_EVERY = 4
"""While sequences are short, every so many steps has long ones, so that no position lags behind."""
GLANCE_TOKENS = 8192
"""Validation tokens looked at to see whether the target loss may be reached."""


class TrainingFailed(PicoGPTError):  # noqa: N818
    """The loss is no longer a finite number."""


@dataclass
class TrainState:
    """All that changes while a run goes on."""

    model: GPT
    optimizers: list[Optimizer]
    workers: Workers
    average: GPT | None = None
    """The mean of the weights over the latest part of the run; None when none is kept."""
    step: int = 0
    """Optimizer steps done."""
    seconds: float = 0.0
    """Seconds of training so far."""
    best_val_loss: float = field(default=float("inf"))
    """Lowest validation loss so far, nats a token."""
    glance_off: float | None = None
    """How much higher a small part of the validation text scores than the whole, in nats a token;
    None until both have been scored. Only a run with a target loss needs it."""

    @property
    def best_model(self) -> GPT:
        """The model that is scored, shown and saved: the averaged one where there is one."""
        return self.model if self.average is None else self.average

    @torch.no_grad()
    def update_average(self, averaging: float) -> None:
        """Move the average towards the weights after a step.

        A running mean whose memory grows with the run, to about 1 / `averaging` of the steps so
        far (polynomial-decay averaging, Shamir and Zhang 2013). It gives at any time what a
        learning rate brought down to 0 would: the noise of the latest steps is gone.
        """
        if self.average is not None:
            share = averaging / (self.step + averaging)
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.model.parameters()), share
            )


def new_state(config: TrainConfig, corpus: Corpus) -> TrainState:
    """A fresh model with its optimizers, decided by `config.seed` alone.

    Raises:
        ConfigError: the sizes do not fit each other, or there is no such device.
    """
    torch.manual_seed(config.seed)
    model = GPT(config.model(corpus.tokenizer.vocab_size))
    begin(model)
    model.to(choose_device(config.device))
    model.recompute = config.activation_checkpointing == "on"
    average = copy.deepcopy(model).eval().requires_grad_(False) if config.averaging else None
    workers = Workers(model, config.workers or 1, 1 if config.dropout else None)
    return TrainState(model, build_optimizers(model, config, workers.each), workers, average)


def uses_bfloat16(config: TrainConfig, device: torch.device) -> bool:
    """Whether matrix products run in bfloat16; see `TrainConfig.dtype`."""
    if config.dtype != "auto":
        return config.dtype == "bfloat16"
    if not fast_bfloat16(device.type):
        return False
    # Without a matrix unit (AMX) a CPU gains nothing from bfloat16 in narrow models.
    unit = device.type != "cpu" or torch.cpu.get_capabilities().get("amx_bf16", False)
    return unit or config.n_embd >= 256


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
    with state.workers.waiting():
        yield from _train(state, corpus, config)


def _train(state: TrainState, corpus: Corpus, config: TrainConfig) -> Iterator[StepMetrics]:
    device = state.model.device
    clock = _Clock(state.seconds)
    scorer = _Scorer(state, corpus, config)
    losses: list[Tensor] = []
    while state.step < config.steps:
        progress = state.step / config.steps
        if config.seconds:
            progress = max(progress, state.seconds / config.seconds)
        share = rate(config, state.step, progress)
        set_rate(state.optimizers, config, share)
        losses.append(one_step(state, corpus, config, device, progress))
        state.step += 1
        state.update_average(config.averaging)
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
            val_loss, bits = scorer.score(over)
        if _sample_due(config, state.step) or (over and config.sample_every):
            sample = write_sample(state.best_model, corpus, config)
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
    state: TrainState,
    corpus: Corpus,
    config: TrainConfig,
    device: torch.device,
    progress: float = 1.0,
) -> Tensor:
    """One optimizer step; returns its loss as a scalar still on the device.

    Args:
        progress: share of the run that is done; early on, sequences may be short.
    """
    torch.manual_seed(config.seed * 1_000_003 + state.step)  # dropout depends on the step alone
    short = 0 < config.short_block < config.block_size and progress < config.short_share
    short = short and state.step % LONG_EVERY != 0
    block = config.short_block if short else config.block_size
    rows = config.tokens_per_step // block
    inputs, targets = training_batch(
        corpus.train, state.step, rows, block, config.seed, corpus.starts
    )
    at_once = max(1, (config.micro_batch or config.batch_size) * config.block_size // block)
    counted = (targets != IGNORE).sum()

    def gradients(number: int) -> Tensor:
        """Losses of the rows of one worker, and their gradients in its model."""
        model, total = state.workers.models[number].train(), torch.zeros((), device=device)
        # Rounded up, so that the first model, whose gradients are the step's, always has rows.
        mine = slice(-(-number * rows // workers), -(-(number + 1) * rows // workers))
        idx, wanted = inputs[mine], targets[mine]  # (b, T)
        for at in range(0, len(idx), at_once):
            part, goal = idx[at : at + at_once], wanted[at : at + at_once]
            share = float((goal != IGNORE).sum() / counted)
            with autocast(config, device):
                _, loss = model(_on(device, part), _on(device, goal))
            loss = loss * share  # so that the parts add up to the mean over the step
            loss.backward()
            total += loss.detach()
        return total

    workers = len(state.workers.models)
    loss = sum(state.workers.each(gradients, range(workers)))
    state.workers.add_gradients()
    for optimizer in state.optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return loss


def _on(device: torch.device, array: np.ndarray) -> Tensor:
    """(b, T) int64 on the device."""
    return torch.from_numpy(array).to(device, non_blocking=True)


def _sample_due(config: TrainConfig, step: int) -> bool:
    return bool(config.sample_every) and step % config.sample_every == 0


def evaluate_loss(
    model: GPT,
    corpus: Corpus,
    config: TrainConfig,
    max_tokens: int | None = None,
    each: Each = one_by_one,
) -> tuple[float, float]:
    """Loss on the validation text: nats a token, and bits a byte.

    The text is cut into blocks of `config.eval_block` tokens that do not overlap.

    Args:
        max_tokens: score at most so many tokens, the same ones every time; 0 scores all. None
            takes `config.eval_tokens`, or all where a target loss is set.
        each: how parts of the text are scored; `Workers.each` does several at the same time.

    Raises:
        TrainingFailed: the loss is infinite or not a number.
    """
    block = config.eval_block or config.block_size
    if max_tokens is None:
        max_tokens = 0 if config.target_val_loss else config.eval_tokens
    inputs, targets = validation_blocks(corpus.val, block, max_tokens)
    device, was_training = model.device, model.training
    model.eval()
    rows = max(1, SCORED_AT_ONCE // block)

    @torch.no_grad()
    def total_loss(at: int) -> float:
        idx, wanted = inputs[at : at + rows], targets[at : at + rows]
        with autocast(config, device):
            _, loss = model(_on(device, idx), _on(device, wanted))
        return float(loss) * len(idx)

    total = sum(each(total_loss, range(0, len(inputs), rows)))
    model.train(was_training)
    loss = total / len(inputs)
    if not np.isfinite(loss):
        raise TrainingFailed(
            "The validation loss is no longer a number. The last good weights are kept. "
            "Start again with smaller learning rates."
        )
    return loss, bits_per_byte(loss, targets, corpus.token_bytes)


class _Scorer:
    """Evaluations of a run. With a target loss, the whole text is scored only where it may tell.

    A glance at a small part of the text is always off in the same direction, by nearly the same
    amount. So once the whole has been scored, a glance says well enough whether it is time again.
    """

    def __init__(self, state: TrainState, corpus: Corpus, config: TrainConfig) -> None:
        self._state, self._corpus, self._config = state, corpus, config

    def score(self, last: bool) -> tuple[float, float]:
        """Nats a token and bits a byte: of the whole text at first, near the target, and at last.

        What lies between is worked out from a glance, and always above the target.
        """
        state, target = self._state, self._config.target_val_loss
        if not target:
            return self._evaluate(None)
        glance, bits = self._evaluate(GLANCE_TOKENS)
        if state.glance_off is not None and not last:
            likely = glance - state.glance_off
            if likely > target:
                return likely, bits * likely / glance
        loss, bits = self._evaluate(0)
        state.glance_off = glance - loss
        return loss, bits

    def _evaluate(self, max_tokens: int | None) -> tuple[float, float]:
        each = self._state.workers.each
        return evaluate_loss(self._state.best_model, self._corpus, self._config, max_tokens, each)


def score(
    state: TrainState, corpus: Corpus, config: TrainConfig, report: StepMetrics
) -> StepMetrics:
    """`report` with the validation loss of the weights as they are now."""
    val_loss, bits = evaluate_loss(state.best_model, corpus, config, each=state.workers.each)
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
