"""The plain recipe that `bench` races against: what most small-GPT scripts do, in float32.

AdamW on everything with weight decay 0.1 on matrices, learning rate 1e-3 falling as a cosine to a
tenth after a short warmup, gradients clipped to norm 1, GPT-2's initial weights, random windows.
As in karpathy/nanoGPT, whose settings for a CPU are `SMALL`.

    python -m trainers.reference CONFIG     one run; CONFIG is a TrainConfig in JSON

prints a JSON object a line: a score every `eval_every` steps, and the whole at the end.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from picogpt.checkpoint import choose_device
from picogpt.model import GPT
from trainers.config import TrainConfig
from trainers.corpus import CORPORA, Corpus
from trainers.loop import evaluate_loss
from trainers.sources import load_corpus

#: What nanoGPT's README gives for a CPU; 0.8 M parameters, 1.54 M tokens.
SMALL = {
    "n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": 64, "batch_size": 12, "steps": 2000,
    "short_block": 0,
}  # fmt: skip
PEAK, LOWEST, DECAY = 1e-3, 1e-4, 0.1
WARMUP = 0.05
"""Share of the steps in which the learning rate rises."""


def train_plain(config: TrainConfig, corpus: Corpus) -> Iterator[dict]:
    """Train in the plain way; of the config count shape, batch, steps, seed and scoring.

    Yields:
        step, tokens, seconds (of training alone) and val_loss, nats a token.
    """
    torch.manual_seed(config.seed)
    device = choose_device(config.device)
    model = GPT(config.model(corpus.tokenizer.vocab_size)).to(device).train()
    matrices = [p for p in model.parameters() if p.dim() == 2]
    rest = [p for p in model.parameters() if p.dim() != 2]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99))
    places = np.random.default_rng(config.seed)
    seconds, start = 0.0, time.perf_counter()
    for step in range(1, config.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = rate(step - 1, config.steps)
        begin = places.integers(0, len(corpus.train) - config.block_size, config.batch_size)
        window = begin[:, None] + np.arange(config.block_size + 1)  # (B, T + 1)
        rows = torch.from_numpy(corpus.train[window].astype(np.int64)).to(device)
        _, loss = model(rows[:, :-1], rows[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % config.eval_every == 0 or step == config.steps:
            seconds += time.perf_counter() - start
            val_loss, bits = evaluate_loss(model, corpus, config, max_tokens=0)
            yield {
                "step": step, "tokens": step * config.tokens_per_step, "seconds": seconds,
                "val_loss": val_loss, "bits_per_byte": bits,
            }  # fmt: skip
            start = time.perf_counter()


def rate(step: int, steps: int) -> float:
    """The learning rate: a straight rise, then half a cosine down to `LOWEST`."""
    warmup = max(1, round(WARMUP * steps))
    if step < warmup:
        return PEAK * (step + 1) / (warmup + 1)
    fallen = (step - warmup) / max(1, steps - warmup)
    return LOWEST + (PEAK - LOWEST) * 0.5 * (1 + math.cos(math.pi * fallen))


def main(argv: list[str]) -> int:
    """One run. Returns the exit status."""
    config = TrainConfig.from_dict(json.loads(argv[0]))
    corpus = load_corpus(config, Path(argv[1]) if len(argv) > 1 else CORPORA)
    before, last = time.perf_counter(), 0.0
    for score in train_plain(config, corpus):
        last = score["seconds"]
        # Seconds spent on scoring so far, the last time apart: a race has no need of them.
        score["scoring_seconds"] = time.perf_counter() - before - last
        print(json.dumps(score), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
