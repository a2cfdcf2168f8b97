"""`python -m trainers`, as a person and as a program use it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from picogpt.checkpoint import load_checkpoint
from tests.trainers.small import config, corpora
from trainers import loop, measure, show
from trainers.cli import main
from trainers.metrics import read_metrics
from trainers.presets import PRESETS, Preset
from trainers.run import TrainingRun, watch

ROOT = Path(__file__).parents[2]
SIZES = ("n_layer=1", "n_head=2", "n_embd=16", "block_size=16", "batch_size=4", "eval_every=5",
         "eval_tokens=256", "sample_every=5", "sample_tokens=4", "dtype=float32")  # fmt: skip


@pytest.fixture
def where(tmp_path) -> list[str]:
    """Flags that keep everything in a folder of the test's own."""
    return [f"--checkpoints={tmp_path / 'ck'}", f"--corpora={corpora(tmp_path / 'texts')}"]


@pytest.fixture
def tiny(where) -> list[str]:
    """A small run, but for its steps and name."""
    flags = [part for size in SIZES for part in ("--set", size)]
    return ["small", "--corpus", "tiny", "--device", "cpu", *where, *flags]


def sentence(capsys) -> str:
    """The one line that was told on stderr, with nothing on stdout."""
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    return err.strip()


def test_a_run(tiny, tmp_path, capsys) -> None:
    assert main([*tiny, "--steps", "10", "--out", "mine", "--samples"]) == 0
    out, err = capsys.readouterr()
    assert "--- step 5\n" in out
    assert "validation loss" in out.splitlines()[-1]
    assert [line.split(":")[0] for line in err.splitlines()] == ["step 5 of 10", "step 10 of 10"]
    assert load_checkpoint(tmp_path / "ck" / "mine").verified


def test_json_lines(tiny, tmp_path, capsys) -> None:
    assert main([*tiny, "--steps=10", "--out=mine", "--seed=5", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    *reports, last = map(json.loads, out.splitlines())
    assert reports == [r.to_dict() for r in read_metrics(tmp_path / "ck" / "mine/metrics.jsonl")]
    assert reports[-1]["step"] == 10
    assert last["event"] == "finished"
    assert last["checkpoint"] == str(tmp_path / "ck" / "mine")
    assert last["val_loss"] == min(r["val_loss"] for r in reports if "val_loss" in r)
    assert last["seconds"] > 0
    assert load_checkpoint(last["checkpoint"]).meta["config"]["seed"] == 5


def test_resume(tiny, where, capsys) -> None:
    assert main([*tiny, "--steps=5", "--out=mine"]) == 0
    capsys.readouterr()
    assert main(["resume", "mine", *where]) == 2
    assert "done all its 5 steps" in sentence(capsys)
    assert main(["resume", "mine", *where, "--steps=10", "--json"]) == 0
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (reports[0]["step"], reports[-2]["step"]) == (5, 10)  # all points, old ones too
    assert reports[-1]["event"] == "finished"


def test_target_and_limits(tiny, capsys) -> None:
    assert main([*tiny, "--steps=500", "--target-val-loss=4.4", "--eval-block=8", "--json"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["val_loss"] <= 4.4
    assert last["step"] < 500


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--steps", "0"], "steps is a whole number from 1"),
        (["--steps", "many"], "'many'"),
        (["--steps", "2.5"], "2.5"),
        (["--seconds", "nan"], "seconds"),
        (["--target-val-loss=-1"], "target_val_loss"),
        (["--eval-block", "17"], "eval_block"),
        (["--seed", "-1"], "seed"),
        (["--device", "toaster"], "toaster"),
        (["--corpus", "nowhere.txt"], "no corpus 'nowhere.txt'.*tiny"),
        (["--out", "../x"], "not a name"),
        (["--set", "n_head=3"], "twice"),
        (["--set", "depth=3"], "FIELD=VALUE, not 'depth=3'.*dropout"),
        (["--set", "preset=large"], "FIELD=VALUE"),
        (["--set", "dropout"], "FIELD=VALUE"),
        (["--set", "dropout=lots"], "dropout"),
        (["--steps=5", "--set", "steps=6"], "steps is given twice"),
        (["--step", "5"], "no flag or argument"),
    ],
)
def test_bad_flags(tiny, capsys, flags: list[str], reason: str) -> None:
    assert main([*tiny, *flags]) == 2
    told = sentence(capsys)
    assert re.search(reason, told), told


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ([], "small, basic"),
        (["tiny"], "one of small, basic.*'tiny' is not"),
        (["resume"], "NAME"),
        (["resume", "nobody"], "no run 'nobody'"),
        (["bench", "--presets", "huge"], "no preset 'huge'"),
        (["bench", "--seeds", "0"], "seeds"),
    ],
)
def test_bad_commands(capsys, tmp_path, monkeypatch, argv: list[str], reason: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    told = sentence(capsys)
    assert re.search(reason, told), told


def test_a_failed_run_says_why(tiny, capsys, monkeypatch) -> None:
    def failing(*_: object) -> None:
        raise loop.TrainingFailed("The loss is no longer a number after step 1.")

    monkeypatch.setattr(loop, "one_step", failing)
    assert main([*tiny, "--json"]) == 2
    assert sentence(capsys) == "The loss is no longer a number after step 1."


# --- Ctrl-C -----------------------------------------------------------------------------------


def press_after_a_report(monkeypatch, times: int) -> list[TrainingRun]:
    """Have Ctrl-C pressed so often once a run has reported; gives the runs that were shown."""
    runs = []

    def pressing(run: TrainingRun):
        runs.append(run)
        left = times
        for snapshot in watch(run, every=0.01):
            yield snapshot
            while snapshot["step"] and left:
                left -= 1
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(show, "watch", pressing)
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    return runs


def test_one_interrupt_saves(tiny, where, tmp_path, capsys, monkeypatch) -> None:
    runs = press_after_a_report(monkeypatch, times=1)
    before = signal.getsignal(signal.SIGINT)
    assert main([*tiny, "--steps=1000000", "--out=mine", "--json"]) == 130
    assert signal.getsignal(signal.SIGINT) is before
    out, err = capsys.readouterr()
    *_, scored, last = map(json.loads, out.splitlines())
    assert last["event"] == "stopped"
    assert "val_loss" in scored
    assert err.splitlines()[-1] == (
        f"Stopped and saved. Go on with: python -m trainers resume mine {where[0]} {where[1]}"
    )
    assert runs[0].state == "finished"
    step = last["step"]
    monkeypatch.undo()
    assert main(["resume", "mine", *where, f"--steps={step + 3}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["step"] == step + 3


def test_two_interrupts_leave_at_once(tiny, capsys, monkeypatch) -> None:
    runs = press_after_a_report(monkeypatch, times=2)
    assert main([*tiny, "--steps=1000000"]) == 130
    runs[0].stop()
    assert runs[0].wait(60)


@pytest.mark.parametrize("workers", [1, 2])
def test_two_interrupts_end_a_process_quietly(where, workers: int) -> None:
    """Even though its threads are in the middle of a step, which takes a while here."""
    settings = ("block_size=64", "sample_every=0", f"workers={workers}")
    flags = [part for setting in settings for part in ("--set", setting)]
    process = subprocess.Popen(
        [sys.executable, "-m", "trainers", "small", "--corpus=tiny", "--steps=100000", "--json",
         "--device=cpu", *where, *flags],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert "step" in json.loads(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline().startswith("Stopping")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err == "" or err.startswith("Stopped and saved.")  # the first was quicker


# --- the others -------------------------------------------------------------------------------


def test_list(tmp_path, capsys) -> None:
    texts = str(corpora(tmp_path))
    assert main(["list", "--corpora", texts, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("preset") for line in lines] == [*PRESETS, None]
    assert lines[-1]["corpus"] == "tiny"
    assert all(line["memory_bytes"] > 0 < line["seconds"] for line in lines[:-1])
    assert main(["list", "--corpora", texts]) == 0
    out = capsys.readouterr().out
    assert "624,256" in out
    assert "tiny" in out


def test_bench_of_speed(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(measure, "ROUNDS", 1)
    monkeypatch.setitem(PRESETS, "small", Preset(config(), "for tests"))
    monkeypatch.setattr(measure, "memory", lambda _: 10**6)
    flags = ["--presets=small", "--race=none", f"--corpora={tmp_path}", "--device=cpu"]
    assert main(["bench", *flags, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("dtype") for line in lines] == ["float32", "bfloat16"]
    assert all(0 < line["share_of_peak"] < 2 and 0 < line["muon_share"] < 1 for line in lines)
    assert main(["bench", *flags]) == 0
    assert "of peak" in capsys.readouterr().out


def test_bench_of_time_to_a_loss(tmp_path, capsys) -> None:
    """A race of two steps of the plain recipe, in processes of their own."""
    flags = ["--presets=none", "--corpus=tiny", f"--corpora={corpora(tmp_path)}", "--device=cpu"]
    assert main(["bench", *flags, "--steps=2", "--json"]) == 0
    plain, ours = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (plain["recipe"], plain["steps"], plain["target"]) == ("plain", 2, None)
    assert (ours["recipe"], ours["target"], ours["reached"]) == ("ours", plain["val_loss"], True)
    assert 0 < ours["val_loss"] <= plain["val_loss"]
    assert 0 < ours["steps"] < 900
    assert min(plain["seconds"], ours["seconds"]) > 0


def test_as_a_process() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trainers", "small", "--steps", "0"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
