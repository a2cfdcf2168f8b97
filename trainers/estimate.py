"""What a run will cost, before it is started: parameters, memory, time."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from picogpt.checkpoint import choose_device
from picogpt.errors import RunError
from trainers.config import TrainConfig
from trainers.loop import uses_bfloat16

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
    layers = config.n_layer
    # Weights, gradients and two optimizer moments; then, for every token, about 18 rows of width
    # C a layer and three rows of logits, all in 4 bytes. Only CUDA drops attention weights without
    # writing them down. Peaks measured on a CPU, and by this formula, in MB:
    #   float32   small 69 (69)   basic 433 (366)  fast 737 (660)
    #   bfloat16                  basic 366 (366)  fast 576 (660)  conversation 2,086 (2,387)
    #             large 4,409 (5,078)
    rows = 18 * config.n_embd * layers + 3 * vocab
    if config.dropout and choose_device(config.device).type != "cuda":
        rows += 4 * layers * config.n_head * config.block_size
    parameters = config.model(vocab).parameters()
    return 16 * parameters + 4 * config.tokens_per_step * rows


def check_memory(config: TrainConfig) -> None:
    """Refuse a run that cannot fit, before it takes the machine down.

    Raises:
        RunError: the estimate is above the memory that this machine has in all. Nothing is
            checked where the system does not tell, or on a GPU, which says so itself.
    """
    if choose_device(config.device).type != "cpu" or not hasattr(os, "sysconf"):
        return
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    needed = memory_needed(config)
    if needed > total:
        raise RunError(
            f"This run needs about {needed / 1e9:,.1f} GB of memory and the machine has "
            f"{total / 1e9:,.1f} GB. Choose a smaller model or batch."
        )


@functools.lru_cache(maxsize=8)
def matmul_rate(device: str, bfloat16: bool) -> float:
    """What `time_matmul` finds on this device, measured once."""
    return time_matmul(device, bfloat16)


@functools.lru_cache(maxsize=4)
def gelu_rate(device: str) -> float:
    """GELUs (of one number each, in float32) a second, measured once."""
    numbers = torch.randn(1024, 1024, device=device)
    work = functools.partial(F.gelu, numbers, approximate="tanh")
    return numbers.numel() / _best_seconds(work, repeats=12)


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
