"""Optimizers and their schedule: Muon for the block matrices, AdamW for everything else."""

from __future__ import annotations

import torch

from picogpt.model import GPT
from trainers.config import TrainConfig
from trainers.muon import Muon


def build_optimizers(model: GPT, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """One Muon over the matrices inside the blocks, one AdamW over tables, norms and biases."""
    blocks = model.transformer["h"]
    fused = [block.attn.c_attn.weight for block in blocks]  # query, key and value in one
    single = [p for p in blocks.parameters() if p.dim() == 2 and all(p is not q for q in fused)]
    chosen = {id(p) for p in (*fused, *single)}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    device = model.device.type
    return [
        Muon(
            [{"params": fused, "parts": 3}, {"params": single}],
            lr=config.muon_lr, momentum=config.momentum, weight_decay=config.weight_decay,
            dtype=torch.bfloat16 if fast_bfloat16(device) else torch.float32,
        ),
        torch.optim.AdamW(
            rest, lr=config.adam_lr, betas=(0.9, 0.95), weight_decay=0.0,
            fused=device in ("cpu", "cuda"),
        ),
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


def set_rate(optimizers: list[torch.optim.Optimizer], config: TrainConfig, share: float) -> None:
    """Give both optimizers their peak rates times `share`."""
    for optimizer, peak in zip(optimizers, (config.muon_lr, config.adam_lr), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = peak * share
