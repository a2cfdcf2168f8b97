"""Fitting a run to the machine: everything a recipe leaves open is decided here, once.

The decisions become part of the run's config, so that a run that is resumed makes the same ones.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import torch

from picogpt.checkpoint import choose_device
from picogpt.errors import RunError
from trainers.config import TrainConfig
from trainers.estimate import memory_needed, tokens_at_once
from trainers.loop import uses_bfloat16
from trainers.workers import available_cores

TOKENS_AT_ONCE = 2048
"""Tokens a worker computes at once on a CPU, at most; more are no faster there."""
ROOMY = 800_000_000
"""Bytes that training may take on a CPU before its batch is taken in smaller parts."""


def fit(config: TrainConfig) -> tuple[TrainConfig, list[str]]:
    """The config with all that it leaves open decided for this machine.

    Returns:
        The config, and a sentence for each decision that a person should know of.

    Raises:
        ConfigError: there is no such device.
        RunError: it cannot fit, however it is cut.
    """
    device = choose_device(config.device)
    bfloat16 = uses_bfloat16(config, device)
    workers = config.workers or (available_cores() if device.type == "cpu" else 1)
    config = dataclasses.replace(
        config,
        dtype="bfloat16" if bfloat16 else "float32",
        workers=min(workers, config.batch_size),
    )
    available = memory_available(device)
    room = available if device.type == "cuda" else min(available, ROOMY)
    config, notes = _cut(config, room, 0 if device.type == "cuda" else TOKENS_AT_ONCE)
    if config.activation_checkpointing == "auto":
        needs_it = memory_needed(config) > available
        choice = "on" if needs_it else "off"
        config = dataclasses.replace(config, activation_checkpointing=choice)
        if needs_it:
            notes.append(
                "Activations are computed twice instead of being kept (activation checkpointing), "
                "because memory is short; this is about a third slower."
            )
    needed = memory_needed(config)
    if needed > available:
        raise RunError(
            f"This run needs about {needed / 1e9:,.1f} GB of memory and {available / 1e9:,.1f} GB "
            "are free. Choose a smaller model, vocabulary or context."
        )
    return config, notes


def _cut(config: TrainConfig, room: int, most_tokens: int) -> tuple[TrainConfig, list[str]]:
    """Take the batch in parts that fit into `room` bytes, of at most `most_tokens` a worker."""
    if config.micro_batch:
        return config, []
    at_once = -(-config.batch_size // config.workers)
    whole = memory_needed(config)

    def too_large(rows: int) -> bool:
        cut = dataclasses.replace(config, micro_batch=rows)
        many = most_tokens and rows * config.block_size > most_tokens
        return many or memory_needed(cut) > room

    while at_once > 1 and too_large(at_once):
        at_once //= 2
    config = dataclasses.replace(config, micro_batch=at_once)
    if tokens_at_once(config) >= config.tokens_per_step:
        return config, []
    return config, [
        f"The batch of {config.batch_size} sequences is computed {at_once * config.workers} at a "
        f"time and its gradients added up: about {memory_needed(config) / 1e9:.1f} GB of memory "
        f"instead of {whole / 1e9:.1f} GB."
    ]


def memory_available(device: torch.device) -> int:
    """Bytes that a run may still take on a device; a very large number where none can tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    limits = [_free_memory(), _container_limit()]
    return min([limit for limit in limits if limit is not None], default=1 << 60)


def _free_memory() -> int | None:
    """What the system could give to a new process."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(
            int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")
        )
    except (OSError, ValueError, StopIteration):  # not Linux: at least what there is in all
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return None


def _container_limit() -> int | None:
    """What a container's limit leaves free."""
    group = Path("/sys/fs/cgroup")
    try:
        limit, used, facts = (
            (group / f"memory.{name}").read_text("ascii") for name in ("max", "current", "stat")
        )
        cached = next(line for line in facts.splitlines() if line.startswith("inactive_file "))
        return max(0, int(limit) - int(used) + int(cached.split()[1]))
    except (OSError, ValueError, StopIteration):  # no container, or no limit ("max")
        return None
