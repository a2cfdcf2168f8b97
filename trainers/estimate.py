"""What a run will cost, before it is started: parameters, memory, time."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass

import torch

from picogpt.checkpoint import choose_device
from trainers.config import TrainConfig
from trainers.loop import uses_bfloat16

#: Share of the rate of a plain matrix product that whole training steps reach, as measured on
#: two cores at the presets' sizes (0.3 to 0.5).
EFFICIENCY = 0.4
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
    # Weights, gradients and two optimizer moments; then, for every token, about 18 rows of width
    # C a layer and three rows of logits, all in 4 bytes.
    memory = 16 * parameters + 4 * tokens * (18 * c * layers + 3 * vocab)
    multiplied = 12 * layers * c * c + vocab * c + 2 * layers * t * c  # weights met by a token
    flops = 6 * multiplied * tokens * config.steps
    device = choose_device(config.device)
    rate = matmul_rate(device.type, uses_bfloat16(config, device))
    seconds = flops / (rate * EFFICIENCY)
    return Estimate(parameters, memory, seconds, tokens * config.steps, flops)


@functools.lru_cache(maxsize=8)
def matmul_rate(device: str, bfloat16: bool) -> float:
    """What `time_matmul` finds on this device, measured once."""
    return time_matmul(device, bfloat16)


def time_matmul(device: str, bfloat16: bool, repeats: int = 12) -> float:
    """Floating-point operations a second of a (1024, 256) x (256, 1024) product, at its best."""
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    a = torch.ones(1024, 256, device=device, dtype=dtype)  # rolls no dice: a run may be training
    b = torch.ones(256, 1024, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(4):
            product = a @ b
        product.sum().item()  # waits for a GPU
        best = min(best, time.perf_counter() - start)
    return 4 * 2 * 1024 * 256 * 1024 / best
