"""Optimizers and their schedule: Muon for the block matrices, AdamW for everything else.

Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks") replaces the
update of a matrix by the nearest orthogonal one, so that every direction learns at the same pace.
"""

from __future__ import annotations

import torch
from torch import nn

from picogpt.model import GPT
from trainers.config import TrainConfig


def build_optimizers(model: GPT, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """One Muon over the matrices inside the blocks, one AdamW over tables, norms and biases."""
    matrices = [p for p in model.transformer["h"].parameters() if p.dim() == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    fused = model.device.type in ("cpu", "cuda")
    return [
        torch.optim.Muon(
            matrices, lr=config.muon_lr, momentum=0.95, weight_decay=config.weight_decay
        ),
        torch.optim.AdamW(
            rest, lr=config.adam_lr, betas=(0.9, 0.95), weight_decay=0.0, fused=fused
        ),
    ]


def zero_output_projections(model: GPT) -> None:
    """Start every block as the identity: its two projections into the stream are zero."""
    for block in model.transformer["h"]:
        nn.init.zeros_(block.attn.c_proj.weight)
        nn.init.zeros_(block.mlp.c_proj.weight)


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


def set_rate(optimizers: list[torch.optim.Optimizer], config: TrainConfig, share: float) -> None:
    """Give both optimizers their peak rates times `share`."""
    for optimizer, peak in zip(optimizers, (config.muon_lr, config.adam_lr), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = peak * share
