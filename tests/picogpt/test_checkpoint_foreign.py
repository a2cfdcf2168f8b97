"""Checkpoint folders and other programs: transformers reads ours, we read its."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from picogpt import (
    BPETokenizer,
    CharTokenizer,
    load_checkpoint,
    load_tokenizer,
)
from picogpt.chat import Turn, render
from tests.fakes import byte_tokenizer, random_ids, tiny_checkpoint

WEIGHTS = "model.safetensors"
UNICODE = st.characters(exclude_categories=["Cs", "Cn"])


def logits_of(model: torch.nn.Module) -> Tensor:
    idx = random_ids((2, 20), 256)
    with torch.no_grad():
        out = model(idx)
    return out if isinstance(out, Tensor) else out.logits


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
