"""Checkpoint folders: what is damaged or no GPT-2 is refused, and the file named."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from picogpt import (
    GPT,
    GPTConfig,
    load_checkpoint,
)
from picogpt.errors import CheckpointError
from picogpt.weights import load_weights

HASHED = (
    "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
    "tokenizer_config.json",
)  # fmt: skip
WEIGHTS = "model.safetensors"


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes, indent=2) + "\n")


def flip_middle_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("file", [*HASHED, "pico.json"])
@pytest.mark.parametrize("damage", [flip_middle_byte, Path.unlink, lambda p: p.write_bytes(b"")])
def test_any_damaged_or_missing_file_is_named(
    folder: Path, file: str, damage: Callable[[Path], object]
) -> None:
    if file == "pico.json" and damage == Path.unlink:
        pytest.skip("that makes the folder foreign")
    damage(folder / file)
    with pytest.raises(CheckpointError, match=file):
        load_checkpoint(folder)


def test_truncated_weights_are_named_with_and_without_a_manifest(folder: Path) -> None:
    os.truncate(folder / WEIGHTS, (folder / WEIGHTS).stat().st_size - 10)
    with pytest.raises(CheckpointError, match=f"{WEIGHTS} is damaged"):
        load_checkpoint(folder)
    (folder / "pico.json").unlink()
    with pytest.raises(CheckpointError, match=f"{WEIGHTS} is damaged"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    "change", [{"val_loss": 0.1}, {"files": {}}, {"sha256": "0" * 64}, {"parameters": 1}]
)
def test_an_edited_manifest_is_refused(folder: Path, change: dict) -> None:
    edit_json(folder / "pico.json", **change)
    with pytest.raises(CheckpointError, match=r"pico\.json was changed"):
        load_checkpoint(folder)


def test_a_manifest_of_another_version_is_refused(folder: Path) -> None:
    edit_json(folder / "pico.json", format_version=2)
    with pytest.raises(CheckpointError, match="format version 2; this program reads 1"):
        load_checkpoint(folder)


def test_card_and_metrics_may_be_edited(folder: Path) -> None:
    for name in ("README.md", "metrics.jsonl"):
        (folder / name).write_text("anything")
    assert load_checkpoint(folder).verified


def test_no_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no checkpoint folder"):
        load_checkpoint(tmp_path / "none")


WPE = "transformer.wpe.weight"


@pytest.mark.parametrize(
    ("name", "tensor", "reason"),
    [
        (WPE, torch.zeros(32, 16, dtype=torch.int32), "int32"),
        (WPE, torch.zeros(32, 16, dtype=torch.bool), "bool"),
        (WPE, torch.zeros(31, 16), r"\(31, 16\), expected floating point \(32, 16\)"),
        (WPE, torch.zeros(16, 32), r"\(16, 32\)"),
        (WPE, torch.zeros(512), r"\(512,\)"),
        (WPE, torch.full((32, 16), float("nan")), "non-finite"),
        (WPE, torch.full((32, 16), 1e300, dtype=torch.float64), "non-finite"),
        (WPE, None, "lacks 'transformer.wpe.weight'"),
        ("transformer.extra", torch.zeros(1), "also holds 'transformer.extra'"),
        ("transformer.h.0.attn.c_attn.weight", torch.zeros(48, 16), r"expected .*\(48, 16\)"),
    ],
)
def test_foreign_weights_that_are_not_gpt2s_are_refused(
    foreign: Path, name: str, tensor: Tensor | None, reason: str
) -> None:
    tensors = load_file(foreign / WEIGHTS)
    tensors.pop(name, None)
    save_file(tensors if tensor is None else tensors | {name: tensor}, foreign / WEIGHTS)
    with pytest.raises(CheckpointError, match=reason):
        load_checkpoint(foreign)


def test_float8_and_float64_weights_are_read(foreign: Path) -> None:
    tensors = load_file(foreign / WEIGHTS)
    tensors[WPE] = tensors[WPE].to(torch.float8_e4m3fn)
    tensors["transformer.ln_f.bias"] = tensors["transformer.ln_f.bias"].double()
    save_file(tensors, foreign / WEIGHTS)
    model = load_checkpoint(foreign).model
    assert torch.equal(model.transformer["wpe"].weight, tensors[WPE].float())


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "llama"}, {"model_type": None}, {"activation_function": "relu"},
        {"layer_norm_epsilon": 1e-6}, {"n_inner": 7}, {"scale_attn_by_inverse_layer_idx": True},
        {"tie_word_embeddings": False}, {"n_head": 3}, {"n_layer": 3}, {"n_layer": 10**9},
        {"n_embd": None}, {"n_embd": "16"}, {"n_embd": {}}, {"n_positions": 16},
        {"vocab_size": 299}, {"vocab_size": -1}, {"resid_pdrop": "x"}, {"n_inner": []},
    ],
)  # fmt: skip
def test_a_foreign_config_that_is_no_such_gpt2_is_refused(foreign: Path, change: dict) -> None:
    edit_json(foreign / "config.json", **change)
    with pytest.raises(CheckpointError):
        load_checkpoint(foreign)


@pytest.mark.parametrize("text", ["", "[]", "{", "\xff", "[" * 100_000, "null"])
@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "pico.json"])
def test_a_file_that_is_no_json_object_is_named(folder: Path, file: str, text: str) -> None:
    if file != "pico.json":
        (folder / "pico.json").unlink()
    (folder / file).write_text(text, encoding="latin-1")
    with pytest.raises(CheckpointError, match=file):
        load_checkpoint(folder)


@given(st.data())
def test_no_corruption_of_the_header_gets_past_the_loader(data: st.DataObject) -> None:
    model = GPT(GPTConfig(1, 1, 2, 2, 3))
    valid = save({k: v.clone() for k, v in model.state_dict().items() if k != "lm_head.weight"})
    header = 8 + struct.unpack("<Q", valid[:8])[0]
    broken = bytearray(valid)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, header - 1))] = data.draw(st.integers(0, 255))
    with suppress(CheckpointError):  # the one way to fail
        load_weights(model, bytes(broken), "x")
    assert all(torch.isfinite(weights).all() for weights in model.parameters())
