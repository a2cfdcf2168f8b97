"""What a finished model says of itself: its manifest and its model card."""

from __future__ import annotations

import math
import platform
import shlex

import torch

from trainers.config import TrainConfig
from trainers.corpus import Corpus
from trainers.metrics import StepMetrics
from trainers.presets import PRESETS

#: What a model that was trained on conversations says first, and eight things to ask it.
GREETING = "Hello, I am Pico, a very small GPT. Ask me about myself, about how I work, or say hi."
PROMPTS = (
    "Hello! Who are you?",
    "What is attention?",
    "Explain temperature to me",
    "Tell me a joke",
    "What sound does a cow make?",
    "My name is Mia",
    "How do I train my own model?",
    "Tell me a story about a robot",
)


def manifest(config: TrainConfig, corpus: Corpus, report: StepMetrics | None) -> dict:
    """Our part of `pico.json`; numbers are those of the report the weights belong to."""
    return {
        "preset": config.preset,
        "chat": corpus.chat,
        **({"greeting": GREETING, "prompts": list(PROMPTS)} if corpus.chat else {}),
        "corpus": {"name": corpus.name, "sha256": corpus.sha256},
        "steps": report.step if report else 0,
        "tokens": report.tokens if report else 0,
        "seconds": round(report.seconds, 2) if report else 0.0,
        "val_loss": round(report.val_loss, 5) if report else None,
        "bits_per_byte": round(report.bits_per_byte, 5) if report else None,
        "config": config.to_dict(),
    }


def command(config: TrainConfig) -> str:
    """The command that repeats a run: its preset and every setting that differs from it."""
    base = PRESETS[config.preset].config.to_dict()
    own = ("corpus", "out", "seed", "device")  # have a flag of their own
    words = ["python", "-m", "trainers", config.preset, f"--corpus={config.corpus}"]
    words += [f"--out={config.out}"] if config.out else []
    words += [f"--seed={config.seed}"]
    words += [f"--device={config.device}"] if config.device != base["device"] else []
    for name, value in config.to_dict().items():
        if name not in ("preset", *own) and value != base[name]:
            words += ["--set", f"{name}={value}"]
    return shlex.join(words)


def model_card(config: TrainConfig, corpus: Corpus, report: StepMetrics | None) -> str:
    """README.md of a checkpoint folder."""
    kind = "answers in a conversation" if corpus.chat else "continues a text"
    model = config.model(corpus.tokenizer.vocab_size)
    lines = [
        "---", "license: mit", "pipeline_tag: text-generation", "---", "",
        f"# {config.out}", "",
        f"A GPT-2 of {model.parameters():,} parameters ({model.n_layer} layers, {model.n_head} "
        f"heads, width {model.n_embd}, context {model.block_size}, {model.vocab_size:,} "
        f"{config.tokenizer} tokens), trained with Pico-GPT Playground. It {kind}.", "",
        "```", command(config), "```", "",
        "| | |", "|---|---|",
        f"| corpus | {corpus.name}, {corpus.characters:,} characters |",
        f"| corpus SHA-256 | `{corpus.sha256}` |",
        f"| seed | {config.seed} |",
        *_figures(report, config),
        f"| torch | {torch.__version__}, {platform.machine()}, {config.dtype}, "
        f"{config.workers or 1} part{'' if config.workers < 2 else 's'} of a batch at a time |", "",
        "It knows only its corpus, and makes things up. Do not rely on what it says.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _figures(report: StepMetrics | None, config: TrainConfig) -> list[str]:
    if report is None or report.val_loss is None:
        return ["| steps | 0 (not trained yet) |"]
    return [
        f"| weights | after step {report.step:,} of {config.steps:,}, the best on held-out text |",
        f"| tokens read | {report.tokens:,} |",
        f"| time | {report.seconds:.0f} s to that step |",
        f"| validation loss | {report.val_loss:.4f} nats a token "
        f"(perplexity {math.exp(report.val_loss):.2f}) |",
        f"| bits per byte | {report.bits_per_byte:.4f} |",
    ]
