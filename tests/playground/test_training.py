"""The Train tab behind its controls: uploads, the form, one run from start to end, what is said."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest

from picogpt.errors import CorpusError
from playground.services import Services, make_services
from playground.training import (
    BUTTONS,
    KNOBS,
    Trainer,
    duration,
    last_sample,
    points_of,
    status_line,
)
from trainers.corpus import MAX_BYTES
from trainers.metrics import StepMetrics

STORY = "The cat sat on the mat, and the dog ran by the door. " * 60
SKIP = gr.skip()
TINY = {
    "steps": 6, "batch_size": 2, "n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 16,
    "eval_every": 2, "sample_every": 3,
}  # fmt: skip


@pytest.fixture
def services(tmp_path: Path) -> Services:
    """No model, one text."""
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora" / "stories.txt").write_text(STORY)
    return make_services(tmp_path / "checkpoints", tmp_path / "corpora", "cpu")


@pytest.fixture
def trainer(services: Services):
    """The tab's handlers; a run that a test left is stopped."""
    yield Trainer(services)
    run = services.runs.active()
    if run is not None:
        run.stop()
        assert run.wait(60)


def knobs(**changes: object) -> list[object]:
    """The values of the controls, in their order."""
    values = TINY | changes
    return [values.get(name) for name in KNOBS]


def press(trainer: Trainer, state: str = "idle", corpus: object = "stories", **changes: object):
    return trainer.press(state, "small", corpus, *knobs(**changes))


def sent(tmp_path: Path, name: str, data: bytes) -> dict:
    """A file as Gradio has stored it and names it."""
    path = tmp_path / "cache" / "x.bin"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return {"path": str(path), "orig_name": name, "size": len(data)}


# --- uploads ----------------------------------------------------------------------------------


def test_an_upload_becomes_the_chosen_text_and_leaves_nothing_behind(trainer, tmp_path):
    file = sent(tmp_path, "My tea & cake.txt", b"\xef\xbb\xbfI like tea.\r\n" * 50)
    box, choice, note = trainer.upload(file)
    assert box is None
    assert choice["value"] == "My-tea-cake"
    assert choice["choices"] == ["stories", "My-tea-cake"]
    assert note == {"text": "My-tea-cake.txt, 0.8 KB, is ready to train on.", "kind": "info"}
    kept = tmp_path / "corpora" / "uploads" / "My-tea-cake.txt"
    assert kept.read_bytes() == b"\xef\xbb\xbfI like tea.\r\n" * 50
    assert not Path(file["path"]).exists()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("empty.txt", b"", "empty.txt holds no text"),
        ("blank.md", b" \r\n\t ", "blank.md holds no text"),
        ("one.txt", b"x", "one.txt holds a single character"),
        ("photo.txt", bytes(range(256)) * 20, "photo.txt is a binary file"),
        ("zeros.txt", b"a\x00b" * 100, "zeros.txt is a binary file"),
        ("latin.txt", "naïve ".encode("latin-1") * 9, r"latin.txt is not UTF-8 \(byte 2 cannot"),
        ("half.txt", b"\xff\xfea", "half.txt is not UTF-8"),
        ("big.txt", b"a b " * (MAX_BYTES // 4 + 1), "big.txt is too large: at most 10,000,000"),
        ("paper.pdf", b"text " * 99, "paper.pdf is not a .txt or .md file"),
        ("../../etc/passwd", b"text " * 99, "passwd is not a .txt or .md file"),
        ("", b"text " * 99, "is not a .txt or .md file"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_in_one_sentence(trainer, tmp_path, name, data, words):
    file = sent(tmp_path, name, data)
    box, choice, note = trainer.upload(file)
    assert (box, choice, note["kind"]) == (None, SKIP, "error")
    with pytest.raises(CorpusError, match=words):
        raise CorpusError(note["text"])
    assert "\n" not in note["text"]
    assert not Path(file["path"]).exists()
    assert not list((tmp_path / "corpora").glob("uploads/*"))


def test_taking_the_file_away_again_changes_nothing(trainer):
    assert trainer.upload(None) == (None, SKIP, None)


# --- the form ---------------------------------------------------------------------------------


def test_a_preset_fills_every_control_but_the_name(trainer):
    values = dict(zip([k for k in KNOBS if k != "out"], trainer.load_preset("fast"), strict=True))
    assert (values["n_layer"], values["vocab_size"], values["tokenizer"]) == (5, 4096, "bpe")


def test_the_estimate_names_parameters_memory_time_and_tokens(trainer):
    note = trainer.estimate("small", "stories", *knobs())
    assert note["kind"] == "info"
    assert note["text"].startswith("About 0.00")
    assert "192 tokens on this machine" in note["text"]  # 6 steps of 2 times 16


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": "many"}, "steps is a whole number; 'many' is not."),
        ({"n_head": 3}, "n_embd"),
        ({"dropout": 5}, "dropout is a number from 0 to 0.9"),
        ({"block_size": -1}, "block_size is a whole number from 8"),
    ],
)
def test_a_wrong_form_is_said_by_the_estimate_and_by_start(trainer, changes, words):
    assert words in trainer.estimate("small", "stories", *knobs(**changes))["text"]
    run, curve, note = press(trainer, **changes)
    assert (run, curve, note["kind"]) == (SKIP, SKIP, "error")
    assert words in note["text"]
    assert trainer.runs.latest() is None


def test_only_listed_texts_are_trained_on(trainer, tmp_path):
    for name in ("/etc/passwd", str(tmp_path / "corpora" / "stories.txt"), "none", "", None):
        note = press(trainer, corpus=name)[2]
        assert "Choose one of: stories." in note["text"]
    assert trainer.runs.latest() is None


# --- a run ------------------------------------------------------------------------------------


def test_a_run_from_start_to_end(trainer, services):
    assert trainer.open()[:2] == ("", None)
    name, curve, note = press(trainer)
    assert (name, note) == ("small-stories", None)
    assert curve["run"] == name
    run = services.runs.get(name)
    assert run.wait(120)
    state, big, stop, chat, status, sample = trainer.poll(name)
    assert state == "finished"
    assert (big["value"], big["interactive"]) == ("Start", True)
    assert (stop["interactive"], chat["interactive"]) == (False, True)
    assert status["kind"] == "info"
    assert status["text"].startswith("small-stories: finished, step 6 of 6, validation loss ")
    assert sample.startswith("Step 6\n\n")
    assert trainer.run_now() is None
    # A page that is opened now, here or elsewhere, shows all of it.
    again = Trainer(services).open()
    assert again[0] == name
    assert again[1]["points"]["step"] == [r.step for r in run.snapshot()["reports"]]
    assert again[1]["points"]["val"][-1][0] == 6
    # The model can be talked to at once, and its curve outlives the process.
    picked, said = trainer.chat_with(name)
    assert picked["value"] == name
    assert picked["choices"][0][0].startswith("small-stories, 0.00")
    assert said["text"] == "small-stories is now the model in every tab."
    later = Trainer(make_services(services.models.checkpoints, services.corpora))
    name, curve, state, *_, status, sample = later.open()
    assert (name, state, curve["state"]) == ("small-stories", "idle", "recorded")
    assert curve["points"] == again[1]["points"]
    assert status["text"].startswith("This is how small-stories learned: 6 steps, ")
    assert sample.startswith("Step 6\n\n")


def test_pause_resume_and_stop(trainer, services):
    name = press(trainer, steps=100_000)[0]
    run = services.runs.get(name)
    press(trainer, "running")
    assert run.wait_paused(60)
    state, big, stop, _, status, _ = trainer.poll(name)
    assert (state, big["value"], stop["interactive"]) == ("paused", "Resume", True)
    assert status["text"].startswith(f"{name}: paused, step ")
    held = run.snapshot()["step"]
    assert trainer.run_now() | {"percent": 0, "loss": 0} == {
        "name": name, "preset": "small", "state": "paused", "percent": 0, "loss": 0,
    }  # fmt: skip
    assert trainer.chat_with(name)[0]["value"] == name  # also while it trains
    press(trainer, "paused")
    assert run.state == "running"
    assert trainer.ask_stop() == (gr.update(visible=False), gr.update(visible=True))
    assert run.state == "running"  # asked once, not done
    assert trainer.stop() == trainer.stay()
    assert run.wait(60)
    assert trainer.poll(name)[0] == "finished"
    assert run.snapshot()["step"] >= held


def test_a_second_run_is_told_who_trains(trainer, services):
    name = press(trainer, steps=100_000)[0]
    note = press(trainer)[2]
    assert note["kind"] == "error"
    assert note["text"].startswith(f"{name} is training here (step ")


def test_a_page_turns_to_the_run_that_was_started_on_another(trainer, services):
    before = trainer.follow("")
    assert before[:2] == (SKIP, SKIP)
    name = press(trainer, steps=100_000)[0]
    run, curve, state, *_ = trainer.follow("")
    assert (run, curve["run"], state) == (name, name, "running")
    assert trainer.follow(name)[:2] == (SKIP, SKIP)


def test_pressing_pause_when_the_run_has_just_ended_starts_no_other(trainer, services):
    for state in BUTTONS:
        run, curve, note = press(trainer, state)
        assert (run, curve, note["text"]) == (SKIP, SKIP, "The run has ended.")
    assert services.runs.latest() is None


def test_a_corpus_shorter_than_the_context_fails_with_its_reason(trainer, services, tmp_path):
    (tmp_path / "corpora" / "short.txt").write_text("Too short a text.")
    name = press(trainer, corpus="short")[0]
    assert services.runs.get(name).wait(60)
    state, big, _, chat, status, _ = trainer.poll(name)
    assert (state, big["value"], chat["interactive"]) == ("failed", "Start", False)
    assert status["kind"] == "error"
    assert status["text"].startswith("small-short failed: short gives ")
    assert "a context of 16 needs at least 17 of each" in status["text"]


def test_the_curve_is_sent_in_parts_that_make_the_whole(trainer, services):
    name = press(trainer)[0]
    run = services.runs.get(name)
    assert run.wait(120)
    whole = trainer.loss_since(name, 0, 0)
    part = trainer.loss_since(name, 2, 1)
    assert part["step"] == whole["step"][2:]
    assert part["val"] == whole["val"][1:]
    assert len(whole["val"]) == sum(r.val_loss is not None for r in run.snapshot()["reports"])
    assert (whole["state"], whole["total"]) == ("finished", 6)
    assert {line["label"] for line in whole["baselines"]} == {"uniform", "unigram", "bigram"}
    assert trainer.loss_since("nobody", 0, 0) is None


def test_chatting_with_a_model_that_was_deleted_says_so(trainer):
    picked, note = trainer.chat_with("gone")
    assert (picked, note["kind"]) == (SKIP, "error")
    assert "There is no model yet" in note["text"]


# --- in words ---------------------------------------------------------------------------------

RUN = {
    "name": "me", "state": "running", "phase": "training", "error": "", "step": 1240,
    "steps": 5000, "val_loss": 1.2345, "bits_per_byte": 1.781, "tokens_per_second": 41234.5,
    "seconds_left": 250.0, "seconds": 90.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "me: running, step 1,240 of 5,000, validation loss 1.234 (1.78 bits/byte), "
             "41,234 tokens/s, about 4 min left"),
        ({"val_loss": None, "seconds_left": None},
         "me: running, step 1,240 of 5,000, 41,234 tokens/s"),
        ({"phase": "reading the text"}, "me: reading the text"),
        ({"state": "paused", "val_loss": None},
         "me: paused, step 1,240 of 5,000, 2 min of training"),
        ({"state": "finished", "seconds": 0.0, "val_loss": None},
         "me: finished, step 1,240 of 5,000"),
        ({"state": "failed", "error": "No disk."}, "me failed: No disk."),
    ],
)  # fmt: skip
def test_the_status_in_one_line(changes, line):
    assert status_line(RUN | changes) == line


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "1 s"), (0.4, "1 s"), (89.4, "89 s"), (90, "2 min"), (3600, "60 min"), (9000, "2.5 h")],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_points_and_the_newest_sample():
    reports = [
        StepMetrics(1, 8, 0.1, 3.0, 0.1, 80.0, sample="old"),
        StepMetrics(2, 16, 0.2, 2.5, 0.1, 80.0, 2.75, 1.5, "new"),
        StepMetrics(3, 24, 0.3, 2.0, 0.1, 80.0),
    ]
    assert points_of(reports) == {
        "step": [1, 2, 3], "train": [3.0, 2.5, 2.0], "val": [[2, 2.75]],
    }  # fmt: skip
    assert last_sample(reports) == "Step 2\n\nnew"
    assert last_sample([]) == ""


def test_a_preset_brings_its_own_text_unless_a_person_brought_one(trainer):
    assert trainer.suit("fast", "stories") == "talk"
    assert trainer.suit("small", "talk") == "stories"
    assert trainer.suit("fast", "my-diary") == "my-diary"
