"""The one-line facade."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch

import picogpt
from picogpt import CharTokenizer, Pico, save_checkpoint
from picogpt.errors import CheckpointError, ConfigError, PromptError, SamplingError, TokenizerError
from picogpt.pico import list_checkpoints
from tests.fakes import tiny_checkpoint, tiny_model


@pytest.fixture
def pico(folder: Path) -> Pico:
    return picogpt.load(str(folder), device="cpu")


# --- finding ----------------------------------------------------------------------------------


def test_a_name_is_looked_up_under_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_checkpoint(tmp_path / "checkpoints" / "mine")
    tiny_checkpoint(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert picogpt.load("mine").name == "mine"
    with pytest.raises(CheckpointError, match=r"no checkpoint 'elsewhere'\. There are: mine"):
        picogpt.load("elsewhere")
    assert picogpt.load("elsewhere", checkpoints=".").name == "elsewhere"


def test_a_path_is_taken_as_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_checkpoint(tmp_path / "here")
    monkeypatch.chdir(tmp_path)
    for path in ("./here", str(tmp_path / "here"), Path("here"), tmp_path / "here"):
        assert picogpt.load(path).name == "here"


@pytest.mark.parametrize("name", ["", "none", "../none", "a\0b", "x" * 300])
def test_what_is_not_there_is_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        picogpt.load(name, checkpoints=tmp_path)


def test_checkpoints_are_listed_without_what_is_half_written(folder: Path) -> None:
    for name in (".b.tmp", ".b.old", "a", "no-model"):
        (folder.parent / name).mkdir()
    for name in (".b.tmp", ".b.old", "a"):
        (folder.parent / name / "config.json").touch()
    assert list_checkpoints(folder.parent) == ["a", "tiny"]
    assert list_checkpoints(folder.parent / "none") == []


def test_unknown_devices_and_weights_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="device"):
        picogpt.load(folder, device="tpu")
    with pytest.raises(ConfigError, match="weights"):
        picogpt.load(folder, weights="int3")


# --- text -------------------------------------------------------------------------------------


def test_a_completion_is_the_text_of_its_stream_without_the_prompt(pico: Pico) -> None:
    steps = list(pico.stream("the cat", max_new_tokens=30, seed=1))
    text = pico.complete("the cat", max_new_tokens=30, seed=1)
    assert text == "".join(step.text for step in steps)
    assert text == pico.tokenizer.decode([step.id for step in steps], skip_special=True)
    assert 0 < len(steps) <= 30 and all(0 <= step.prob <= 1 for step in steps)


def test_equal_seeds_give_equal_texts(pico: Pico) -> None:
    settings = {"max_new_tokens": 20, "temperature": 2.0, "top_k": 0}
    assert pico.complete("a", **settings, seed=1) == pico.complete("a", **settings, seed=1)
    assert pico.complete("a", **settings, seed=1) != pico.complete("a", **settings, seed=2)


def test_every_setting_reaches_the_dice(pico: Pico) -> None:
    for change in ({"top_p": 1e-9}, {"min_p": 1.0}, {"top_k": 1}, {"temperature": 0.0}):
        steps = list(pico.stream("a", 5, **({"temperature": 2.0, "top_k": 0, "seed": 1} | change)))
        assert all(step.rank == 0 and step.kept_prob == 1 for step in steps)
    steps = list(pico.stream("a", 8, temperature=0.0, repetition_penalty=10.0))
    assert any(step.rank > 0 for step in steps)
    with pytest.raises(SamplingError, match="top_p"):
        pico.stream("a", top_p=2.0)


def test_the_defaults_are_the_originals() -> None:
    for verb in (Pico.complete, Pico.stream, Pico.chat):
        defaults = {name: p.default for name, p in inspect.signature(verb).parameters.items()}
        assert defaults["max_new_tokens"] == 100
        assert (defaults["temperature"], defaults["top_k"], defaults["seed"]) == (0.8, 20, None)


def test_an_end_of_text_ends_the_stream_and_is_not_shown(pico: Pico) -> None:
    end = pico.tokenizer.special_tokens["<|endoftext|>"]
    with torch.no_grad():  # whatever comes in, the end of the text is all it can think of
        pico.engine.model.transformer["ln_f"].weight.zero_()
        pico.engine.model.transformer["ln_f"].bias.copy_(pico.engine.model.lm_head.weight[end] * 99)
    steps = list(pico.stream("a", temperature=0))
    assert [step.id for step in steps] == [end] and steps[0].text == ""
    assert pico.complete("a", temperature=0) == ""


def test_an_empty_prompt_starts_a_new_text(pico: Pico) -> None:
    end = pico.tokenizer.special_tokens["<|endoftext|>"]
    assert pico.encode_prompt("") == [end]
    assert pico.complete("", 3, seed=1) == pico.tokenizer.decode(
        [step.id for step in pico.stream("", 3, seed=1)], skip_special=True
    )


def test_a_character_model_needs_a_prompt_it_can_read(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", tiny_model(vocab_size=3), CharTokenizer.train("abc"))
    pico = picogpt.load(tmp_path / "c")
    assert len(pico.complete("ab", 40, seed=1)) == 40
    with pytest.raises(PromptError, match="prompt is empty"):
        pico.complete("")
    with pytest.raises(TokenizerError, match="never seen: 'z'"):
        pico.complete("abz")
    with pytest.raises(ConfigError, match="not trained on conversations"):
        pico.chat()


def test_a_chat_keeps_its_context_and_settings(pico: Pico) -> None:
    chat = pico.chat(temperature=0.0, max_new_tokens=5)
    first = chat.reply("Hello!")
    chat.reply("the cat?")
    assert [turn.text for turn in chat.turns][:3] == ["Hello!", first, "the cat?"]
    assert chat.sampling.temperature == 0 and chat.max_new_tokens == 5
    assert pico.chat().turns == []


def test_looking_inside_reads_the_same_ids(pico: Pico) -> None:
    ids = pico.tokenizer.encode("the cat")
    assert torch.equal(pico.next_logits("the cat"), pico.engine.next_logits(ids))
    assert torch.equal(pico.attention("the cat"), pico.engine.attention(ids))
    (step,) = pico.stream("the cat", 1, attention=True)
    torch.testing.assert_close(step.attention, pico.attention("the cat")[:, :, -1])
