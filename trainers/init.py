"""The weights a training run begins with: GPT-2's, but with heads that already look back.

Shapes: T positions (block_size), C width, H heads of D numbers, F = C / 2 frequencies.

A fresh GPT-2 spends its first tenth finding out that the tokens just before matter most. Nothing in
the architecture says so, but its first weights can: positions begin as waves (Vaswani et al. 2017,
"Attention is all you need"), and the first block's queries and keys begin as rotations of them, so
that head h looks h tokens back (after Trockman and Kolter 2023, "Mimetic initialization of
self-attention layers"). All of it is learned further. `trainers/README.md` has what it is worth.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from picogpt.model import GPT

POSITION_STD = 0.07
"""Root mean square of the first position embeddings; token embeddings have GPT-2's 0.02."""
GAIN = 1.4
"""How firmly the heads look: what a query and a key are multiplied by."""
FASTEST, SLOWEST = 3.0, 0.02
"""Highest and lowest frequency of the waves, radians a token."""


def begin(model: GPT) -> None:
    """Give a fresh model the weights that training starts from.

    Every block begins as the identity, because its projections into the stream are zero, and the
    heads of the first block look back 0, 1, 2, ... tokens.
    """
    for block in model.transformer["h"]:
        nn.init.zeros_(block.attn.c_proj.weight)
        nn.init.zeros_(block.mlp.c_proj.weight)
    with torch.no_grad():
        _look_back(model)


def _look_back(model: GPT) -> None:
    """Positions as waves, and heads that turn them: head h attends h tokens back."""
    C, H = model.config.n_embd, model.config.n_head
    F, D = C // 2, C // H
    frequency = torch.logspace(math.log10(FASTEST), math.log10(SLOWEST), F)  # (F,)
    angle = torch.arange(model.config.block_size)[:, None] * frequency  # (T, F)
    waves = torch.cat([angle.cos(), angle.sin()], dim=1) * math.sqrt(2)  # (T, C), mean square 1
    model.transformer["wpe"].weight[:, : 2 * F] = POSITION_STD * waves
    weight = model.transformer["h"][0].attn.c_attn.weight  # (3 C, C): query, key, value rows
    for h in range(H):
        for pair, f in enumerate(range(h, F, H)[: D // 2]):  # every H-th frequency, D / 2 of them
            row = h * D + 2 * pair
            cos, sin = math.cos(frequency[f] * h), math.sin(frequency[f] * h)
            query, key = weight[row : row + 2], weight[C + row : C + row + 2]  # (2, C) each
            # The query at position i is the key of position i - h: the wave turned back by h.
            query[0, f] += GAIN * cos
            query[0, F + f] += GAIN * sin
            query[1, f] -= GAIN * sin
            query[1, F + f] += GAIN * cos
            key[0, f] += GAIN
            key[1, F + f] += GAIN
