"""What a recipe leaves open is decided once, for the machine, and told where it matters."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from picogpt.errors import ConfigError, RunError
from tests.trainers.small import config, corpora
from trainers import RunRegistry, TrainConfig, estimate, fit, preset
from trainers.cli import main
from trainers.estimate import memory_needed
from trainers.presets import PRESETS

LONG = 60
"""Seconds until a test that waits in vain gives up."""
ADDED = "gradients added up"
TWICE = "activation checkpointing"


@pytest.fixture(autouse=True)
def cores(monkeypatch) -> None:
    """A machine of two cores and a terabyte."""
    for module in (fit, estimate):
        monkeypatch.setattr(module, "available_cores", lambda: 2)
    give(monkeypatch, 10**12)


def give(monkeypatch, memory: int) -> None:
    """So many bytes are free."""
    monkeypatch.setattr(fit, "memory_available", lambda device: memory)


def roomy(**changes: object) -> TrainConfig:
    """A recipe whose activations are most of what it needs."""
    return config(n_layer=4, batch_size=32, **changes)


def needed(recipe: TrainConfig, **changes: object) -> int:
    """Bytes of a recipe with all decided."""
    decided = {"workers": 2, "activation_checkpointing": "off"}
    return memory_needed(dataclasses.replace(recipe, **(decided | changes)))


# --- decisions --------------------------------------------------------------------------------


def test_everything_open_is_decided() -> None:
    found, notes = fit.fit(config(dtype="auto"))
    assert found.dtype in ("float32", "bfloat16")
    assert (found.workers, found.micro_batch, found.activation_checkpointing) == (2, 2, "off")
    assert notes == []
    same = {"dtype", "workers", "micro_batch", "activation_checkpointing"}
    assert all(v == found.to_dict()[k] for k, v in config().to_dict().items() if k not in same)


def test_what_was_chosen_stays() -> None:
    chosen = config(dtype="bfloat16", workers=3, micro_batch=1, activation_checkpointing="on")
    assert fit.fit(chosen) == (chosen, [])


@pytest.mark.parametrize("name", PRESETS)
def test_a_second_look_decides_the_same(name: str) -> None:
    found, _ = fit.fit(preset(name, device="cpu"))
    assert fit.fit(found) == (found, [])


def test_there_are_never_more_workers_than_rows(monkeypatch) -> None:
    monkeypatch.setattr(fit, "available_cores", lambda: 64)
    assert fit.fit(config(batch_size=3))[0].workers == 3
    assert fit.fit(config(batch_size=3, workers=5))[0].workers == 3


@pytest.mark.parametrize("batch_size", [1, 3, 7, 9])
def test_an_odd_batch_is_not_cut_for_nothing(batch_size: int) -> None:
    found, notes = fit.fit(config(batch_size=batch_size))
    assert notes == []
    assert found.micro_batch * found.workers >= batch_size


def test_no_such_device() -> None:
    with pytest.raises(ConfigError, match="toaster"):
        fit.fit(config(device="toaster"))


# --- memory -----------------------------------------------------------------------------------


def test_little_memory_cuts_the_batch(monkeypatch) -> None:
    give(monkeypatch, needed(roomy(), micro_batch=4))
    found, (note,) = fit.fit(roomy())
    assert (found.micro_batch, found.activation_checkpointing) == (4, "off")
    assert note.startswith("The batch of 32 sequences is computed 8 at a time and its gradients")
    assert ADDED in note
    give(monkeypatch, needed(roomy(), micro_batch=4) - 1)
    assert fit.fit(roomy())[0].micro_batch == 2


def test_less_memory_computes_activations_twice(monkeypatch) -> None:
    least = needed(roomy(), micro_batch=1, activation_checkpointing="on")
    for memory in (needed(roomy(), micro_batch=1) - 1, least):
        give(monkeypatch, memory)
        found, notes = fit.fit(roomy())
        assert (found.micro_batch, found.activation_checkpointing) == (1, "on")
        assert [ADDED in note for note in notes] == [True, False]
        assert [TWICE in note for note in notes] == [False, True]


def test_too_little_memory_is_refused(monkeypatch) -> None:
    least = needed(roomy(), micro_batch=1, activation_checkpointing="on")
    give(monkeypatch, least - 1)
    sentence = r"This run needs about .* GB of memory and .* GB are free\. Choose"
    with pytest.raises(RunError, match=sentence) as caught:
        fit.fit(roomy())
    assert "\n" not in str(caught.value)


def test_a_person_who_wants_no_checkpointing_is_refused(monkeypatch) -> None:
    give(monkeypatch, needed(roomy(), micro_batch=1) - 1)
    with pytest.raises(RunError, match="needs about"):
        fit.fit(roomy(activation_checkpointing="off"))
    with pytest.raises(RunError, match="needs about"):
        fit.fit(roomy(micro_batch=32, activation_checkpointing="off"))


def test_the_numbers_of_the_refusal(monkeypatch) -> None:
    give(monkeypatch, 1_500_000_000)
    huge = preset("large", n_layer=48, n_embd=2048, n_head=32, device="cpu", dtype="float32")
    with pytest.raises(RunError, match=r"and 1\.5 GB are free"):
        fit.fit(huge)


def test_large_takes_little_more_than_a_gigabyte() -> None:
    found, (note,) = fit.fit(preset("large", device="cpu", dtype="float32"))
    assert memory_needed(found) < 1.1e9 < needed(found, micro_batch=0)
    assert found.activation_checkpointing == "off"
    assert "The batch of 16 sequences" in note


@pytest.mark.parametrize("name", ["small", "basic", "fast"])
def test_the_others_are_not_cut(name: str) -> None:
    found, notes = fit.fit(preset(name, device="cpu"))
    assert notes == []
    assert found.micro_batch * found.workers == found.batch_size


def test_memory_is_what_the_system_has_and_the_container_leaves(monkeypatch, tmp_path) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(fit, "Path", lambda path: tmp_path / path.lstrip("/"))
    group, cpu = tmp_path / "sys/fs/cgroup", torch.device("cpu")
    group.mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    meminfo = "MemTotal: 16000000 kB\nMemFree: 1000000 kB\nMemAvailable: 8000000 kB\n"
    (tmp_path / "proc/meminfo").write_text(meminfo)
    assert fit.memory_available(cpu) == 8_000_000 * 1024
    (group / "memory.current").write_text("1000000000\n")
    (group / "memory.stat").write_text("anon 5\ninactive_file 250000000\n")
    (group / "memory.max").write_text("max\n")
    assert fit.memory_available(cpu) == 8_000_000 * 1024
    (group / "memory.max").write_text("3000000000\n")
    assert fit.memory_available(cpu) == 2_250_000_000  # a cached file can be let go
    (group / "memory.current").write_text("3300000000\n")
    assert fit.memory_available(cpu) == 0


def test_somewhere_else_there_is_some_memory_too(monkeypatch, tmp_path) -> None:
    monkeypatch.undo()
    assert 1e8 < fit.memory_available(torch.device("cpu")) < 1e15
    monkeypatch.setattr(fit, "Path", lambda path: tmp_path / path.lstrip("/"))  # neither file
    assert fit.memory_available(torch.device("cpu")) > 1e8


# --- what a run makes of it -------------------------------------------------------------------


@pytest.fixture
def registry(tmp_path) -> RunRegistry:
    return RunRegistry(tmp_path / "checkpoints", corpora(tmp_path / "corpora"))


def test_a_run_says_it_and_keeps_to_it(monkeypatch, registry) -> None:
    memory = needed(roomy(), micro_batch=1, activation_checkpointing="on")
    give(monkeypatch, memory)
    run = registry.start(roomy(steps=2))
    assert run.wait(LONG)
    assert run.state == "finished", run.snapshot()["error"]
    assert [ADDED in note for note in run.notes] == [True, False]
    assert [TWICE in note for note in run.notes] == [False, True]
    decided = run.config
    assert (decided.workers, decided.micro_batch, decided.activation_checkpointing) == (2, 1, "on")
    state = next(run.folder.glob("training/*/state.json")).read_text(encoding="utf-8")
    assert TrainConfig.from_dict(json.loads(state)["config"]) == decided

    # Another machine: a terabyte and seven cores, and its processor would take bfloat16.
    give(monkeypatch, 10**12)
    for module in (fit, estimate):
        monkeypatch.setattr(module, "available_cores", lambda: 7)
    resumed = RunRegistry(registry.checkpoints, registry.corpora).resume(run.name, steps=4)
    assert resumed.wait(LONG)
    assert resumed.state == "finished", resumed.snapshot()["error"]
    assert resumed.config == dataclasses.replace(decided, steps=4)


def test_a_refused_run_leaves_nothing(monkeypatch, registry) -> None:
    give(monkeypatch, 1000)
    with pytest.raises(RunError, match="needs about"):
        registry.start(config())
    assert registry.latest() is None
    assert not registry.checkpoints.exists() or not list(registry.checkpoints.iterdir())


@pytest.mark.parametrize("json_lines", [False, True])
def test_the_terminal_says_it(monkeypatch, tmp_path: Path, capsys, json_lines: bool) -> None:
    give(monkeypatch, needed(roomy(), micro_batch=4))
    base = preset("small").to_dict()
    fields = {k: v for k, v in roomy(steps=1).to_dict().items() if v != base[k]}
    flags = ["small", f"--checkpoints={tmp_path}", f"--corpora={corpora(tmp_path / 'texts')}"]
    flags += [f"--{name}={fields.pop(name)}" for name in ("corpus", "steps", "device")]
    flags += [part for name, value in fields.items() for part in ("--set", f"{name}={value}")]
    assert main([*flags, *(["--json"] if json_lines else [])]) == 0
    out, err = capsys.readouterr()
    assert err.splitlines()[0].startswith("The batch of 32 sequences is computed 8 at a time")
    assert "gradients" not in out
