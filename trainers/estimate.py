"""What a run will cost, before it is started: parameters, memory, time."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from picogpt.checkpoint import choose_device
from trainers.config import TrainConfig
from trainers.loop import uses_bfloat16
from trainers.workers import available_cores

# What a token costs besides its matrix products, as so many GELUs of one number, for each number
# of the residual stream a layer (dropout: on top) and for each logit. Fitted to thread CPU time on
# one core of a Xeon with AMX: microseconds a token measured, and by this model, with matrix
# products at 137-176 GFLOP/s in float32 and 1,050-1,400 in bfloat16:
#   float32   small 63 (64)   basic 306 (334)  fast 335 (382)  conversation 886 (1,084)
#             large 1,795 (1,687)
#   bfloat16                  basic 200 (216)  fast 215 (213)  conversation 453 (441)
#             large 922 (855)
# So a fast matrix unit helps less than its rate says: steps reach 5 to 19 % of it in bfloat16, 44
# to 83 % of the slower one in float32. On a GPU this has not been measured.
STREAM, DROPOUT, LOGIT = 45, 50, 11
LONG_ENOUGH = 120
"""Rounds in which a processor at rest reaches its full rate; 12 found half of it at times."""
CHAR_VOCAB = 100
"""Size of a typical character vocabulary; the true one is known only when the text is read."""


@dataclass(frozen=True)
class Estimate:
    """What a run will cost, roughly."""

    parameters: int
    """Trainable numbers."""
    memory: int
    """Bytes that weights, gradients, optimizer and activations take at their peak."""
    seconds: float
    """Seconds of training on this machine when nothing else runs."""
    tokens: int
    """Tokens read in all steps."""
    flops: int
    """Floating-point operations of the matrix products in all steps."""


def usual_vocab(config: TrainConfig) -> int:
    """Ids that the recipe's tokenizer will have, as far as can be told without the text."""
    return CHAR_VOCAB if config.tokenizer == "char" else config.vocab_size


def estimate(config: TrainConfig, vocab_size: int | None = None) -> Estimate:
    """Estimate a run on this machine.

    Args:
        config: the recipe.
        vocab_size: ids of the tokenizer, where it is known.
    """
    vocab = vocab_size or usual_vocab(config)
    parameters = config.model(vocab).parameters()
    c, layers, t = config.n_embd, config.n_layer, config.block_size
    tokens = config.tokens_per_step
    device = choose_device(config.device)
    memory = memory_needed(config, vocab)
    multiplied = 12 * layers * c * c + vocab * c + 2 * layers * t * c  # weights met by a token
    flops = 6 * multiplied * tokens * config.steps
    rate = matmul_rate(device.type, uses_bfloat16(config, device))
    gelus = c * layers * (STREAM + (DROPOUT if config.dropout else 0)) + LOGIT * vocab
    seconds = flops / rate + gelus * tokens * config.steps / gelu_rate(device.type)
    return Estimate(parameters, memory, seconds, tokens * config.steps, flops)


def memory_needed(config: TrainConfig, vocab_size: int | None = None) -> int:
    """Bytes that weights, gradients, optimizer and activations take at their peak."""
    vocab = vocab_size or usual_vocab(config)
    on_cpu = choose_device(config.device).type != "cuda"
    workers = (config.workers or available_cores()) if on_cpu else 1
    # Weights, gradients (a set for each worker), at most two moments, and the averaged weights.
    copies = 3 + workers + (1 if config.averaging else 0)
    parameters = config.model(vocab).parameters()
    return 4 * (copies * parameters + tokens_at_once(config) * _rows(config, vocab, on_cpu))


def _rows(config: TrainConfig, vocab: int, on_cpu: bool) -> int:
    """Numbers kept for every token until its gradient has been computed."""
    # About 18 rows of width C a layer, and three rows of logits. Only CUDA drops attention weights
    # without writing them down. What is computed again keeps its input alone, and one block's rest.
    row = 18 * config.n_embd
    if config.dropout and on_cpu:
        row += 4 * config.n_head * config.block_size
    if config.activation_checkpointing == "on":
        return config.n_layer * config.n_embd + row + 3 * vocab
    return config.n_layer * row + 3 * vocab


def tokens_at_once(config: TrainConfig) -> int:
    """Tokens whose activations are in memory at one moment, in all workers together."""
    on_cpu = choose_device(config.device).type != "cuda"
    workers = (config.workers or available_cores()) if on_cpu else 1
    of_worker = math.ceil(config.batch_size / workers)
    rows = min(config.micro_batch or of_worker, of_worker)
    return rows * workers * config.block_size


@functools.lru_cache(maxsize=8)
def matmul_rate(device: str, bfloat16: bool) -> float:
    """What `time_matmul` finds on this device, measured once."""
    return time_matmul(device, bfloat16, LONG_ENOUGH)


@functools.lru_cache(maxsize=4)
def gelu_rate(device: str) -> float:
    """GELUs (of one number each, in float32) a second, measured once."""
    numbers = torch.randn(1024, 1024, device=device)
    work = functools.partial(F.gelu, numbers, approximate="tanh")
    return numbers.numel() / _best_seconds(work, repeats=24)


def time_matmul(device: str, bfloat16: bool, repeats: int = 12) -> float:
    """Floating-point operations a second of a (1024, 256) x (256, 1024) product, at its best."""
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    a = torch.randn(1024, 256, device=device).to(dtype)
    b = torch.randn(256, 1024, device=device).to(dtype)
    return 2 * 1024 * 256 * 1024 / _best_seconds(functools.partial(torch.mm, a, b), repeats)


def _best_seconds(work: Callable[[], torch.Tensor], repeats: int) -> float:
    """Seconds of one call, from the fastest of some rounds of four."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(4):
            result = work()
        result[0, 0].item()  # waits for a GPU
        best = min(best, time.perf_counter() - start)
    return best / 4
