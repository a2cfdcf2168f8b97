"""Runs small enough for tests: a short text and a model of some thousand numbers."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch

from picogpt import GPT
from trainers import Corpus, TrainConfig, TrainState, load_corpus, new_state, preset
from trainers.loop import one_step
from trainers.optimizer import Optimizer


def make_text(sentences: int = 400) -> str:
    """Sentences of a few words, the same every time; easy to learn a little of."""
    dice = random.Random(3)
    people, verbs = ["Ann", "the cat", "my old dog"], ["saw", "likes", "ran to"]
    things = ["the red ball.", "a green tree.", "the sea."]
    return "\n".join(
        " ".join((dice.choice(people), dice.choice(verbs), dice.choice(things)))
        for _ in range(sentences)
    )


def config(**changes: object) -> TrainConfig:
    """A char model of one layer on `tiny.txt`, 20 steps, float32 on the CPU."""
    tiny = {
        "corpus": "tiny", "n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 16,
        "batch_size": 4, "short_block": 0, "steps": 20, "eval_every": 5, "eval_tokens": 256,
        "sample_every": 10, "sample_tokens": 4, "warmup_steps": 2, "device": "cpu",
        "dtype": "float32",
    }  # fmt: skip
    return preset("small", **(tiny | changes))


def corpora(folder: Path, text: str | None = None) -> Path:
    """A folder of corpora with `tiny.txt` in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.txt").write_text(make_text() if text is None else text, encoding="utf-8")
    return folder


def begin(folder: Path, **changes: object) -> tuple[TrainConfig, Corpus, TrainState]:
    """A recipe, its corpus, and a fresh state."""
    recipe = config(**changes)
    corpus = load_corpus(recipe, corpora(folder / "corpora"))
    return recipe, corpus, new_state(recipe, corpus)


def weights(model: GPT) -> list[torch.Tensor]:
    """Copies of a model's parameters."""
    return [p.detach().clone() for p in model.parameters()]


def same(a: GPT, b: GPT) -> bool:
    """Whether two models have the same weights, to the bit."""
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


class Catcher(Optimizer):
    """Keeps a step's gradients and moves nothing."""

    def __init__(self, model: GPT) -> None:
        super().__init__(model.parameters(), 0.0, ())
        self.caught: list[torch.Tensor] = []

    def _update(self, grads: list[torch.Tensor]) -> None:
        self.caught = [grad.clone() for grad in grads]


def gradients(
    state: TrainState, corpus: Corpus, recipe: TrainConfig
) -> tuple[float, list[torch.Tensor]]:
    """Loss and gradients of a state's next step, which is not taken."""
    catcher = Catcher(state.model)
    usual, state.optimizers = state.optimizers, [catcher]
    loss = float(one_step(state, corpus, recipe, state.model.device))
    state.optimizers = usual
    return loss, catcher.caught


def whole_text_loss(model: GPT, ids: np.ndarray, block: int) -> float:
    """Nats a token of all whole blocks of a text, one block after the other in plain PyTorch."""
    model.eval()
    count = (len(ids) - 1) // block
    total = 0.0
    for i in range(count):
        row = torch.tensor(ids[i * block : (i + 1) * block + 1].astype("int64"))[None]  # (1, T + 1)
        with torch.no_grad():
            logits = model(row[:, :-1])[0].double().log_softmax(-1)  # (T, V)
        total -= float(logits[torch.arange(block), row[0, 1:]].mean())
    return total / count
