"""Checkpoint folders: a Hugging Face GPT-2 folder with our manifest `pico.json` beside it.

    config.json  model.safetensors  tokenizer.json  tokenizer_config.json
    generation_config.json  pico.json  README.md  metrics.jsonl  training/

`pico.json` holds the SHA-256 of every other file except README.md, metrics.jsonl and training/,
and of its own bytes with that value blanked. While a run trains, only the weights and the
manifest change: `pico.json.next` is written first, then the weights are replaced, then the
manifest is renamed, so one of the two manifests always matches the weights.
A folder without `pico.json` is foreign: its names, shapes and dtypes are checked and it is
marked unverified. Nothing is ever pickled.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from picogpt.config import GPTConfig
from picogpt.errors import CheckpointError, ConfigError, TokenizerError
from picogpt.files import sha256, sync_folder, to_json, write_file, write_folder
from picogpt.manifest import UNHASHED, manifest_bytes, read_json, read_verified, settle
from picogpt.model import GPT
from picogpt.tokenizers import Tokenizer, load_tokenizer
from picogpt.weights import WEIGHTS_FILE, load_weights, weights_to_bytes

_ACTIVATIONS = ("gelu_new", "gelu_pytorch_tanh")


@dataclass
class Checkpoint:
    """A model with its tokenizer and its history, as loaded from a folder."""

    model: GPT
    """In float32 and evaluation mode."""
    tokenizer: Tokenizer
    config: GPTConfig
    meta: dict
    """The manifest `pico.json` ({} for a foreign folder)."""
    folder: Path
    verified: bool
    """Every hashed file matched the manifest."""

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @property
    def can_chat(self) -> bool:
        """Whether the model was trained on conversations."""
        return bool(self.meta.get("chat")) and "<|user|>" in self.tokenizer.special_tokens


def save_checkpoint(
    folder: str | Path,
    model: GPT,
    tokenizer: Tokenizer,
    meta: dict | None = None,
    card: str | None = None,
) -> Path:
    """Write a checkpoint folder atomically; weights are stored in float16.

    A folder that already holds this shape and tokenizer only gets new weights and a new
    manifest; anything else of that name is replaced, but for its card, metrics and saved states.

    Args:
        folder: where; its parents are made.
        model: any device and dtype.
        tokenizer: its `vocab_size` must not exceed the model's.
        meta: goes into `pico.json` (preset, corpus, steps, val_loss, chat ...).
        card: text of README.md; None leaves an existing one alone.

    Returns:
        The folder.

    Raises:
        CheckpointError: the tokenizer has more ids than the model, or weights are not finite.
    """
    folder = Path(folder)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise CheckpointError(
            f"The tokenizer has {tokenizer.vocab_size:,} ids and the model "
            f"{model.config.vocab_size:,}. Give the model at least as many."
        )
    files = _frame_files(model, tokenizer)
    weights = weights_to_bytes(model)
    hashes = {name: sha256(data) for name, data in files.items()} | {WEIGHTS_FILE: sha256(weights)}
    manifest = manifest_bytes(model, meta or {}, hashes)
    same_frame = folder.is_dir() and all(
        (folder / name).is_file() and (folder / name).read_bytes() == data
        for name, data in files.items()
    )
    if same_frame:
        settle(folder)
        write_file(folder / "pico.json.next", manifest)
        write_file(folder / WEIGHTS_FILE, weights)
        os.replace(folder / "pico.json.next", folder / "pico.json")
        sync_folder(folder)
    else:
        whole = files | {WEIGHTS_FILE: weights, "pico.json": manifest}
        write_folder(folder, whole.items(), keep=(*UNHASHED, "training"))
    if card is not None:
        write_file(folder / "README.md", card.encode("utf-8"))
    return folder


def load_checkpoint(folder: str | Path, device: str = "cpu") -> Checkpoint:
    """Read a checkpoint folder and check every byte that the manifest vouches for.

    Args:
        folder: the folder.
        device: `auto`, `cpu`, `cuda` or `mps` (see `choose_device`).

    Raises:
        CheckpointError: missing, damaged, of another architecture, or not a checkpoint; says
            which file and why.
        ConfigError: there is no such device.
    """
    folder = Path(folder)
    target = choose_device(device)
    if not folder.is_dir():
        raise CheckpointError(f"There is no checkpoint folder {str(folder)!r}. Check its name.")
    meta, weights = read_verified(folder)
    try:
        config = _config_from_json(read_json(folder / "config.json"))
        tokenizer = load_tokenizer(folder)
    except (ConfigError, TokenizerError) as error:
        raise CheckpointError(f"{folder.name} cannot be loaded: {error}") from error
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"{folder.name}: the tokenizer has {tokenizer.vocab_size:,} ids and the model only "
            f"{config.vocab_size:,}. The files do not belong together."
        )
    with torch.device("meta"):  # shapes only: no time spent on initial values, no dice rolled
        model = GPT(config)
    load_weights(model, weights, folder.name)
    return Checkpoint(
        model.to(target).eval(), tokenizer, config.copy(), meta, folder, verified=bool(meta)
    )


def choose_device(device: str = "auto") -> torch.device:
    """`auto` becomes cuda, mps or cpu, whichever is there first; others are checked.

    Raises:
        ConfigError: the device is unknown or not on this machine.
    """
    present = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if device == "auto":
        return torch.device(next((name for name, there in present.items() if there()), "cpu"))
    kind = str(device).split(":")[0]
    if kind != "cpu" and not present.get(kind, bool)():
        there = ["auto", "cpu"] + [name for name, is_there in present.items() if is_there()]
        raise ConfigError(
            f"device {device!r} is not on this machine. Choose one of: {', '.join(there)}."
        )
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"{device!r} is no device. Use auto, cpu, cuda or mps.") from error


# --- the small files --------------------------------------------------------------------------


def _frame_files(model: GPT, tokenizer: Tokenizer) -> dict[str, bytes]:
    """Everything but weights and manifest: what stays the same while a run trains."""
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer.save(scratch)
        files = {path.name: path.read_bytes() for path in sorted(Path(scratch).iterdir())}
    specials = tokenizer.special_tokens
    ends = [specials[name] for name in ("<|end|>", "<|endoftext|>") if name in specials]
    files["config.json"] = to_json(_config_to_json(model.config, specials))
    files["generation_config.json"] = to_json(
        {"do_sample": True, "temperature": 0.8, "top_k": 20, "max_new_tokens": 100}
        | ({"eos_token_id": ends, "pad_token_id": ends[-1]} if ends else {})
    )
    return files


def _config_to_json(config: GPTConfig, specials: dict[str, int]) -> dict:
    end = specials.get("<|endoftext|>")
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_embd": config.n_embd,
        "n_positions": config.block_size,
        "vocab_size": config.vocab_size,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "attn_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "resid_pdrop": config.dropout,
        "tie_word_embeddings": True,
        "bos_token_id": end,
        "eos_token_id": end,
        "dtype": "float16",
    }


def _config_from_json(data: dict) -> GPTConfig:
    """Raises ConfigError or CheckpointError for anything that is not plain GPT-2."""
    width = data.get("n_embd", 768)
    plain = {
        "model_type": (data.get("model_type"), ("gpt2",)),
        "activation_function": (data.get("activation_function", "gelu_new"), _ACTIVATIONS),
        "layer_norm_epsilon": (data.get("layer_norm_epsilon", 1e-5), (1e-5,)),
        "scale_attn_weights": (data.get("scale_attn_weights", True), (True,)),
        "scale_attn_by_inverse_layer_idx": (
            data.get("scale_attn_by_inverse_layer_idx", False), (False,)),
        "tie_word_embeddings": (data.get("tie_word_embeddings", True), (True,)),
    }  # fmt: skip
    for field, (value, allowed) in plain.items():
        if value not in allowed:
            raise CheckpointError(
                f"config.json: {field} is {value!r}; only {allowed[0]!r} is supported (GPT-2)."
            )
    config = GPTConfig(
        n_layer=data.get("n_layer", 12),
        n_head=data.get("n_head", 12),
        n_embd=width,
        block_size=data.get("n_positions", 1024),
        vocab_size=data.get("vocab_size", 50257),
        dropout=data.get("resid_pdrop", 0.0),
    )
    config.validate()
    if data.get("n_inner") not in (None, 4 * width):
        raise CheckpointError(
            f"config.json: n_inner is {data['n_inner']!r}; only {4 * width} is supported, four "
            "times n_embd (GPT-2)."
        )
    return config
