"""Checkpoint folders: what is saved comes back, on a device that is there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from picogpt import (
    GPT,
    BPETokenizer,
    CharTokenizer,
    load_checkpoint,
    save_checkpoint,
)
from picogpt.checkpoint import choose_device
from picogpt.errors import CheckpointError, ConfigError
from picogpt.files import sweep
from tests.fakes import byte_tokenizer, random_ids, tiny_checkpoint, tiny_model

HASHED = (
    "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
    "tokenizer_config.json",
)  # fmt: skip
WEIGHTS = "model.safetensors"


def test_what_is_saved_comes_back_rounded_to_float16(
    tmp_path: Path, model: GPT, tokenizer: BPETokenizer
) -> None:
    meta = {"preset": "basic", "steps": 7, "corpus": {"name": "naïve.txt"}, "chat": True}
    ckpt = load_checkpoint(save_checkpoint(tmp_path / "a" / "one", model, tokenizer, meta))
    loaded = ckpt.model.state_dict()
    assert loaded.keys() == model.state_dict().keys()
    for name, weights in model.state_dict().items():
        assert torch.equal(loaded[name], weights.half().float()), name
        assert loaded[name].dtype == torch.float32
    assert ckpt.config == ckpt.model.config == model.config
    assert ckpt.config is not ckpt.model.config
    assert ckpt.tokenizer.to_json() == tokenizer.to_json()
    assert (ckpt.name, ckpt.verified, ckpt.can_chat) == ("one", True, True)
    assert {key: ckpt.meta[key] for key in meta} == meta
    assert ckpt.meta["parameters"] == model.num_parameters()


def test_a_loaded_model_is_in_evaluation_mode_tied_and_trainable(folder: Path) -> None:
    model = load_checkpoint(folder).model
    assert not model.training
    assert model.lm_head.weight is model.transformer["wte"].weight
    model(random_ids((1, 4), 256), random_ids((1, 4), 256))[1].backward()
    assert all(weights.grad is not None for weights in model.parameters())


def test_saving_twice_gives_the_same_bytes_and_loading_rolls_no_dice(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    state = torch.get_rng_state()
    ckpt = load_checkpoint(folder)
    assert torch.equal(state, torch.get_rng_state())
    save_checkpoint(folder, ckpt.model, ckpt.tokenizer, {"chat": True})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_manifest_vouches_for_every_file(folder: Path) -> None:
    manifest = json.loads((folder / "pico.json").read_text())
    assert sorted(manifest["files"]) == sorted(HASHED)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*HASHED, "pico.json"])


def test_the_tied_head_is_stored_once_in_float16(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    assert "lm_head.weight" not in tensors
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}


def test_a_manifest_taken_over_from_another_model_does_not_lie(
    folder: Path, tmp_path: Path, tokenizer: BPETokenizer
) -> None:
    old = load_checkpoint(folder).meta
    larger = tiny_model(n_layer=3, vocab_size=tokenizer.vocab_size)
    ckpt = load_checkpoint(
        save_checkpoint(tmp_path / "larger", larger, tokenizer, old | {"format_version": 99})
    )
    assert ckpt.meta["parameters"] == larger.num_parameters() != old["parameters"]


def test_new_weights_leave_everything_else_in_the_folder_alone(folder: Path) -> None:
    (folder / "README.md").write_text("card")
    (folder / "metrics.jsonl").write_text("{}\n")
    (folder / "training").mkdir()
    tiny_checkpoint(folder, seed=1)
    assert load_checkpoint(folder).verified
    assert (folder / "README.md").read_text() == "card"
    assert (folder / "metrics.jsonl").is_file() and (folder / "training").is_dir()


def test_another_shape_replaces_the_folder_whole(folder: Path) -> None:
    tokenizer = CharTokenizer.train("abc")
    save_checkpoint(folder, tiny_model(vocab_size=3), tokenizer, card="new")
    ckpt = load_checkpoint(folder)
    assert ckpt.config.vocab_size == 3 and ckpt.verified and not ckpt.can_chat
    assert (folder / "README.md").read_text() == "new"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_folder_beside_it_that_ends_in_old_or_tmp_is_left_alone(folder: Path) -> None:
    for ending in (".old", ".tmp"):
        shutil.copytree(folder, folder.with_name(folder.name + ending))
    save_checkpoint(folder, tiny_model(vocab_size=3), CharTokenizer.train("abc"))
    assert sweep(folder.parent) == []
    assert load_checkpoint(folder.with_name("tiny.old")).verified
    assert load_checkpoint(folder.with_name("tiny.tmp")).verified


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="300 ids and the model 299"):
        save_checkpoint(tmp_path / "x", tiny_model(vocab_size=299), byte_tokenizer())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e5])
def test_weights_that_float16_cannot_hold_are_not_saved(
    folder: Path, model: GPT, tokenizer: BPETokenizer, value: float
) -> None:
    before = (folder / WEIGHTS).read_bytes()
    with torch.no_grad():
        model.transformer["wpe"].weight[0, 0] = value
    with pytest.raises(CheckpointError, match=r"transformer\.wpe\.weight.*nothing was saved"):
        save_checkpoint(folder, model, tokenizer)
    assert (folder / WEIGHTS).read_bytes() == before


def test_auto_picks_a_device_that_is_there() -> None:
    assert choose_device("auto") == choose_device(str(choose_device("auto")))
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("device", ["tpu", "", "cpu:x", "xpu", "meta", "cuda:x", "mps:9x"])
def test_an_unknown_device_is_refused(folder: Path, device: str) -> None:
    with pytest.raises(ConfigError, match="device"):
        load_checkpoint(folder, device)
