"""Checkpoint folders: what comes back, what is refused, and what survives a cut."""

from __future__ import annotations

import json
import os
import shutil
import stat
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
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from picogpt import (
    GPT,
    BPETokenizer,
    CharTokenizer,
    GPTConfig,
    load_checkpoint,
    load_tokenizer,
    save_checkpoint,
)
from picogpt import checkpoint as checkpoint_module
from picogpt.chat import Turn, render
from picogpt.checkpoint import choose_device, load_weights
from picogpt.errors import CheckpointError, ConfigError
from picogpt.files import sweep
from tests.fakes import byte_tokenizer, random_ids, tiny_checkpoint, tiny_model

HASHED = (
    "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
    "tokenizer_config.json",
)  # fmt: skip
WEIGHTS = "model.safetensors"
UNICODE = st.characters(exclude_categories=["Cs", "Cn"])


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes, indent=2) + "\n")


def flip_middle_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def logits_of(model: torch.nn.Module) -> Tensor:
    idx = random_ids((2, 20), 256)
    with torch.no_grad():
        out = model(idx)
    return out if isinstance(out, Tensor) else out.logits


@pytest.fixture
def foreign(folder: Path) -> Path:
    """A folder without a manifest, as from somebody else."""
    (folder / "pico.json").unlink()
    return folder


# --- round trip -------------------------------------------------------------------------------


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


# --- other programs ---------------------------------------------------------------------------


def test_transformers_loads_the_folder_as_it_stands(folder: Path) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    assert isinstance(theirs, GPT2LMHeadModel)
    torch.testing.assert_close(
        logits_of(load_checkpoint(folder).model), logits_of(theirs), atol=1e-4, rtol=0
    )


@given(st.text(UNICODE, max_size=60))
def test_auto_tokenizer_gives_the_same_ids(loaded: tuple, text: str) -> None:
    ours, theirs = loaded
    assert theirs(text)["input_ids"] == ours.encode(text)
    assert theirs.decode(ours.encode(text)) == text


@given(st.lists(st.text(UNICODE.filter("<".__ne__), max_size=20), min_size=1, max_size=5))
def test_the_chat_template_gives_the_ids_of_render(loaded: tuple, texts: list[str]) -> None:
    ours, theirs = loaded
    texts = texts if len(texts) % 2 else texts[:-1] or ["a"]
    turns = [Turn(("user", "assistant")[i % 2], text) for i, text in enumerate(texts)]
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    ids = theirs.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert ids == render(turns, ours, block_size=10_000).ids


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """Our tokenizer and transformers', from one folder."""
    folder = tiny_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny")
    return load_checkpoint(folder).tokenizer, AutoTokenizer.from_pretrained(folder)


def test_a_folder_written_by_transformers_loads_unverified(folder: Path, tmp_path: Path) -> None:
    config = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=32, vocab_size=300)
    theirs = GPT2LMHeadModel(config).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "theirs")
    ckpt = load_checkpoint(tmp_path / "theirs")
    assert (ckpt.verified, ckpt.meta, ckpt.can_chat) == (False, {}, False)
    torch.testing.assert_close(logits_of(ckpt.model), logits_of(theirs), atol=1e-4, rtol=0)
    assert ckpt.tokenizer.to_json() == load_checkpoint(folder).tokenizer.to_json()


@pytest.mark.parametrize("tokenizer", [byte_tokenizer(), CharTokenizer.train("abc é")])
def test_a_tokenizer_saved_again_by_transformers_still_loads(
    tmp_path: Path, tokenizer: BPETokenizer | CharTokenizer
) -> None:
    tokenizer.save(tmp_path / "ours")
    AutoTokenizer.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    assert load_tokenizer(tmp_path / "theirs").to_json() == tokenizer.to_json()


def test_gpt2s_oldest_names_and_buffers_are_understood(foreign: Path) -> None:
    expected = logits_of(load_checkpoint(foreign).model)
    tensors = {k.removeprefix("transformer."): v for k, v in load_file(foreign / WEIGHTS).items()}
    tensors["h.0.attn.bias"] = torch.ones(1, 1, 32, 32)
    tensors["h.0.attn.masked_bias"] = torch.tensor(-1e4)
    tensors["lm_head.weight"] = tensors["wte.weight"].clone()
    save_file(tensors, foreign / WEIGHTS)
    assert torch.equal(logits_of(load_checkpoint(foreign).model), expected)


# --- damage -----------------------------------------------------------------------------------


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


# --- a cut in the middle ----------------------------------------------------------------------


class Cut(BaseException):
    """The power fails."""


def save_until_cut(monkeypatch: pytest.MonkeyPatch, at: int, save: Callable[[], object]) -> bool:
    """Run `save` until its `at`-th rename, sync or removal, which does not happen; True if cut.

    A cut at a sync also loses half of what was written to that file.
    """
    calls = 0

    def counted(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal calls
            calls += 1
            if calls < at:
                return real(*args, **kwargs)
            if name == "fsync" and stat.S_ISREG(os.fstat(args[0]).st_mode):
                os.ftruncate(args[0], os.fstat(args[0]).st_size // 2)
            raise Cut

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", counted("replace", os.replace))
        patch.setattr(os, "fsync", counted("fsync", os.fsync))
        patch.setattr(shutil, "rmtree", counted("rmtree", shutil.rmtree))
        try:
            save()
        except Cut:
            return True
    return False


def state_of(folder: Path) -> int:
    """Which of the saves the folder holds: `steps` of the manifest, agreeing with the weights."""
    ckpt = load_checkpoint(folder)
    assert ckpt.verified
    steps = ckpt.meta["steps"]
    expected = tiny_model(vocab_size=300, seed=steps).lm_head.weight.half().float()
    assert torch.equal(ckpt.model.lm_head.weight, expected)
    return steps


def saver(folder: Path, steps: int) -> Callable[[], object]:
    return lambda: tiny_checkpoint(folder, {"steps": steps}, seed=steps)


def test_a_cut_at_any_point_of_a_save_leaves_a_folder_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    for at in range(1, 100):
        folder = tmp_path / str(at) / "tiny"
        saver(folder, 1)()
        cut = save_until_cut(monkeypatch, at, saver(folder, 2))
        seen.append(state_of(folder))
        if not cut:
            break
        sweep(folder)
        assert state_of(folder) == seen[-1]
        saver(folder, 3)()
        assert state_of(folder) == 3
        assert not list(folder.glob("*.tmp")) and not list(folder.glob("*.next"))
    assert seen == sorted(seen) and set(seen) == {1, 2} and len(seen) > 5


def test_two_cuts_in_a_row_leave_a_folder_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = 0
    while first := first + 1:
        start = tmp_path / f"{first}"
        saver(start / "tiny", 1)()
        if not save_until_cut(monkeypatch, first, saver(start / "tiny", 2)):
            break
        held = state_of(start / "tiny")
        second = 0
        while second := second + 1:
            folder = tmp_path / f"{first}-{second}" / "tiny"
            shutil.copytree(start / "tiny", folder)
            cut = save_until_cut(monkeypatch, second, saver(folder, 3))
            assert state_of(folder) in ((held, 3) if cut else (3,))
            if not cut:
                break
        assert second > 5
    assert first > 5


def test_a_cut_while_a_folder_without_manifest_gets_one_leaves_it_loadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in range(1, 100):
        folder = tiny_checkpoint(tmp_path / str(at) / "tiny", {"steps": 1}, seed=1)
        (folder / "pico.json").unlink()
        cut = save_until_cut(monkeypatch, at, saver(folder, 2))
        assert load_checkpoint(folder).meta.get("steps") in (None, 2)
        if not cut:
            break
    assert at > 5 and state_of(folder) == 2


@pytest.mark.parametrize("exists", [True, False])
def test_a_cut_while_a_folder_is_made_or_replaced_whole_is_undone_or_finished_by_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    tokenizer = CharTokenizer.train("abc")
    seen = []
    for at in range(1, 100):
        folder = tmp_path / str(at) / "tiny"
        folder.parent.mkdir()
        if exists:
            save_checkpoint(folder, tiny_model(vocab_size=3), tokenizer)
        cut = save_until_cut(monkeypatch, at, saver(folder, 2))
        sweep(folder.parent)
        assert {path.name for path in folder.parent.iterdir()} <= {"tiny"}
        seen.append(load_checkpoint(folder).meta.get("steps", 1) if folder.exists() else 0)
        assert sweep(folder.parent) == []
        if not cut:
            break
    assert seen == sorted(seen) and set(seen) == {int(exists), 2} and len(seen) > 5


def test_a_save_between_two_reads_of_the_loader_is_no_damage(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = checkpoint_module.read_manifest

    def save_first(path: Path) -> dict:
        monkeypatch.setattr(checkpoint_module, "read_manifest", real)
        tiny_checkpoint(folder, {"steps": 5}, seed=5)
        return real(path)

    monkeypatch.setattr(checkpoint_module, "read_manifest", save_first)
    assert state_of(folder) == 5


# --- devices ----------------------------------------------------------------------------------


def test_auto_picks_a_device_that_is_there() -> None:
    assert choose_device("auto") == choose_device(str(choose_device("auto")))
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("device", ["tpu", "", "cpu:x", "xpu", "meta", "cuda:x", "mps:9x"])
def test_an_unknown_device_is_refused(folder: Path, device: str) -> None:
    with pytest.raises(ConfigError, match="device"):
        load_checkpoint(folder, device)
