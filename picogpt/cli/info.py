"""`python -m picogpt info`: what a checkpoint is made of."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from picogpt.cli import common

if TYPE_CHECKING:
    from picogpt.checkpoint import Checkpoint
    from picogpt.config import GPTConfig
    from picogpt.model import GPT

#: Part -> what the names of its parameters hold; the first that fits counts.
PARTS = {
    "token embedding": ".wte.",
    "position embedding": ".wpe.",
    "attention": ".attn.",
    "MLP": ".mlp.",
    "layer norms": ".ln_",
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser of all commands."""
    parser = commands.add_parser(
        "info",
        help="show what a model is made of",
        description="Show the sizes, parameters, memory and history of a model.",
        epilog="Example: python -m picogpt info -m pico-chat",
    )
    common.add_model_flags(parser, device=False)
    common.add_json_flag(parser, "with everything")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what is known about a checkpoint, as a list or as JSON.

    Raises:
        PicoGPTError: no such model, or a damaged folder.
    """
    from picogpt.checkpoint import load_checkpoint
    from picogpt.pico import find_checkpoint

    checkpoint = load_checkpoint(find_checkpoint(args.model, args.checkpoints))
    facts = describe(checkpoint)
    if args.json:
        common.write_json(facts)
    else:
        common.write(_as_text(facts))
    return 0


def describe(checkpoint: Checkpoint) -> dict:
    """Everything `info` shows, as one object for JSON.

    `memory` is in bytes: the weights in either type, and the keys and values of a full context
    (float32) that every stream needs besides. What the manifest does not tell is None.
    """
    config, meta = checkpoint.config, checkpoint.meta
    total = checkpoint.model.num_parameters()
    corpus = meta.get("corpus")
    if isinstance(corpus, dict):
        corpus = corpus.get("name")
    return {
        "name": checkpoint.name,
        "preset": meta.get("preset"),
        "parameters": total,
        "parts": parameters_by_part(checkpoint.model),
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_embd": config.n_embd,
        "block_size": config.block_size,
        "vocab_size": config.vocab_size,
        "tokenizer": checkpoint.tokenizer.kind,
        "special_tokens": checkpoint.tokenizer.special_tokens,
        "memory": {"float32": 4 * total, "float16": 2 * total, "cache": cache_bytes(config)},
        "chat": checkpoint.can_chat,
        "corpus": corpus,
        "steps": meta.get("steps"),
        "tokens": meta.get("tokens"),
        "seconds": meta.get("seconds"),
        "val_loss": meta.get("val_loss"),
        "bits_per_byte": meta.get("bits_per_byte"),
        "verified": checkpoint.verified,
    }


def parameters_by_part(model: GPT) -> dict[str, int]:
    """Trainable numbers of each part; the output head is the token embedding and not counted."""
    counts = dict.fromkeys(PARTS, 0)
    for name, parameter in model.named_parameters():
        part = next(part for part, mark in PARTS.items() if mark in name)
        counts[part] += parameter.numel()
    return counts


def cache_bytes(config: GPTConfig) -> int:
    """Bytes of the keys and values of one full context in float32."""
    return 2 * config.n_layer * config.block_size * config.n_embd * 4


def _as_text(facts: dict) -> str:
    memory, total = facts["memory"], facts["parameters"]
    lines = [f"{facts['name']}: a GPT of {total:,} parameters", ""]
    for part, count in facts["parts"].items():
        lines.append(f"  {part:<20}{count:>14,}  {count / total:6.1%}")
    special = len(facts["special_tokens"])
    kind = {"char": "one token a character", "bpe": "byte-level BPE"}[facts["tokenizer"]]
    rows = {
        "preset": facts["preset"],
        "layers": facts["n_layer"],
        "heads": f"{facts['n_head']}, each {facts['n_embd'] // facts['n_head']} numbers wide",
        "width": f"{facts['n_embd']:,} numbers a token",
        "context": f"{facts['block_size']:,} tokens",
        "vocabulary": f"{facts['vocab_size']:,} tokens" + (f", {special} special" * bool(special)),
        "tokenizer": f"{facts['tokenizer']} ({kind})",
        "memory": f"{common.bytes_text(memory['float32'])} in float32, "
        f"{common.bytes_text(memory['float16'])} in float16",
        "full context": f"{common.bytes_text(memory['cache'])} of keys and values (float32)",
        "made for": "chat" if facts["chat"] else "completing text",
        "corpus": facts["corpus"],
        "trained": _training(facts),
        "validation loss": _rounded(facts["val_loss"], "nats a token"),
        "bits per byte": _rounded(facts["bits_per_byte"]),
        "verified": "yes, every file matches pico.json" if facts["verified"]
        else "no, there is no pico.json to check the files against",
    }  # fmt: skip
    lines += [""] + [f"  {label:<17}{_shown(value)}" for label, value in rows.items()]
    return "\n".join(lines) + "\n"


def _training(facts: dict) -> str | None:
    """Steps, tokens and seconds, as far as they are known."""
    units = ("steps", "tokens", "seconds")
    known = [
        f"{facts[unit]:,.0f} {unit}" for unit in units if isinstance(facts[unit], (int, float))
    ]
    return ", ".join(known) or None


def _rounded(value: object, unit: str = "") -> str | None:
    return f"{value:.3f} {unit}".rstrip() if isinstance(value, (int, float)) else None


def _shown(value: object) -> str:
    """A value on one line; a manifest may hold anything."""
    return "not known" if value is None else " ".join(common.printable(str(value)).split())
