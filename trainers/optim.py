"""Optimizers and their schedule: Muon for the block matrices, Adam for everything else."""

from __future__ import annotations

import torch

from picogpt.model import GPT
from trainers.adam import Adam
from trainers.config import TrainConfig
from trainers.muon import Muon
from trainers.optimizer import Optimizer
from trainers.workers import Each, one_by_one


def build_optimizers(model: GPT, config: TrainConfig, each: Each = one_by_one) -> list[Optimizer]:
    """One Muon over the matrices inside the blocks, one Adam over tables, norms and biases.

    Args:
        each: how Muon works on several stacks of matrices.
    """
    blocks = model.transformer["h"]
    matrices = [p for p in blocks.parameters() if p.dim() == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        Muon(
            matrices, [block.attn.c_attn.weight for block in blocks], config.muon_lr,
            config.momentum, config.weight_decay,
            torch.bfloat16 if fast_bfloat16(model.device.type) else torch.float32, each,
        ),
        Adam(rest, config.adam_lr),
    ]  # fmt: skip


def fast_bfloat16(device: str) -> bool:
    """Whether the device multiplies matrices in bfloat16 itself (and does not imitate it)."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device == "cpu" and torch.cpu.get_capabilities().get("avx512_bf16", False)


def rate(config: TrainConfig, step: int, progress: float) -> float:
    """Share of the peak learning rate: a short rise, a plateau, a straight fall to 0.

    Args:
        config: gives warmup and cooldown.
        step: steps done, for the warmup.
        progress: share of the run that is done, 0 to 1, for the cooldown.
    """
    rise = min(1.0, (step + 1) / (config.warmup_steps + 1))
    fall = (1 - progress) / config.cooldown if config.cooldown else 1.0
    return rise * min(1.0, max(0.0, fall))


def set_rate(optimizers: list[Optimizer], config: TrainConfig, share: float) -> None:
    """Give both optimizers their peak rates times `share`."""
    for optimizer, peak in zip(optimizers, (config.muon_lr, config.adam_lr), strict=True):
        optimizer.lr = peak * share
