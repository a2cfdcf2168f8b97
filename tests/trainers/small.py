"""Runs small enough for tests: a short text and a model of some thousand numbers."""

from __future__ import annotations

import random
from pathlib import Path

from trainers import Corpus, TrainConfig, TrainState, load_corpus, new_state, preset


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
        "batch_size": 4, "steps": 20, "eval_every": 5, "eval_tokens": 256, "sample_every": 10,
        "sample_tokens": 4, "warmup_steps": 2, "device": "cpu", "dtype": "float32",
    }  # fmt: skip
    return preset("small", **(tiny | changes))


def corpora(folder: Path) -> Path:
    """A folder of corpora with `tiny.txt` in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.txt").write_text(make_text(), encoding="utf-8")
    return folder


def begin(folder: Path, **changes: object) -> tuple[TrainConfig, Corpus, TrainState]:
    """A recipe, its corpus, and a fresh state."""
    recipe = config(**changes)
    corpus = load_corpus(recipe, corpora(folder / "corpora"))
    return recipe, corpus, new_state(recipe, corpus)
