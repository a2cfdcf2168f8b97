"""What outlives a browser tab: models that are loaded and replaced, and streams to stop."""

from __future__ import annotations

import json
import os
import shutil
import threading
import zipfile
from pathlib import Path

import pytest

from picogpt import load_checkpoint
from picogpt.errors import CheckpointError, CorpusError
from picogpt.weights import WEIGHTS_FILE
from playground.services import LOADED, SESSIONS, ZIPS, ModelStore, Sessions, make_services
from tests import fakes

TRICKS = ["..", ".", "../outside", "/", "", None, "a/../..", "..\\x", "tiny/", "loose", ["tiny"],
          {"name": "tiny"}, 5, "x" * 5000, "\x00"]  # fmt: skip


@pytest.fixture
def store(folder: Path) -> ModelStore:
    """A store with one model, `tiny`, and beside it a folder that is none."""
    (folder.parent / "loose").mkdir()
    (folder.parent / "loose" / "keep.txt").write_text("mine")
    return ModelStore(folder.parent, "cpu")


def later(folder: Path) -> None:
    """Give the files of a folder a time of change that no clock can have given them before."""
    for path in (folder / "pico.json", folder / WEIGHTS_FILE):
        if path.exists():
            stamp = path.stat().st_mtime_ns + 1_000_000_000
            os.utime(path, ns=(stamp, stamp))


def test_a_model_is_loaded_once(store):
    assert store.get("tiny") is store.get("tiny")


def test_new_weights_are_loaded_at_the_next_use(store, folder):
    before = store.get("tiny")
    fakes.tiny_checkpoint(folder, seed=1)
    later(folder)
    after = store.get("tiny")
    assert after is not before
    fresh = load_checkpoint(folder).model
    assert (after.checkpoint.model.lm_head.weight == fresh.lm_head.weight).all()


@pytest.mark.parametrize("name", [WEIGHTS_FILE, "pico.json", "tokenizer.json"])
def test_damaged_new_files_keep_the_loaded_model_until_they_are_mended(store, folder, name):
    before = store.get("tiny")
    good = (folder / name).read_bytes()
    (folder / name).write_bytes(good[: len(good) // 2])
    later(folder)
    assert store.get("tiny") is before
    (folder / name).write_bytes(good)
    later(folder)
    later(folder)
    assert store.get("tiny") is not before


def test_a_damaged_model_that_was_never_loaded_is_refused(store, folder):
    (folder / WEIGHTS_FILE).write_bytes(b"\x00" * 100)
    with pytest.raises(CheckpointError, match=r"tiny/model.safetensors is damaged"):
        store.get("tiny")


def test_only_a_few_models_are_held_and_the_longest_unused_goes(store, folder):
    names = [f"m{i}" for i in range(LOADED)]
    for name in names:
        shutil.copytree(folder, folder.parent / name)
    first = store.get("tiny")
    second = store.get(names[0])
    for name in names[1:]:
        store.get(name)
    assert store.get(names[0]) is second
    assert store.get("tiny") is not first


def test_models_can_be_asked_for_from_many_threads_at_once(store):
    start, got = threading.Barrier(8), []

    def ask():
        start.wait()
        got.append(store.get("tiny"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    assert len(set(map(id, got))) == 1


@pytest.mark.parametrize("name", TRICKS, ids=lambda name: repr(name)[:16])
def test_only_listed_models_are_touched(store, name, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    for act in (store.get, store.delete, store.zip):
        with pytest.raises(CheckpointError) as error:
            act(name)
        assert len(str(error.value)) < 200
    assert sorted(tmp_path.rglob("*")) == before


def test_deleting_removes_the_folder_and_forgets_the_model(store, folder):
    store.get("tiny")
    store.delete("tiny")
    assert not folder.exists()
    with pytest.raises(CheckpointError, match="There is no model yet"):
        store.get("tiny")


def test_a_zip_holds_the_folder_without_what_only_resuming_needs(store, folder):
    (folder / "training" / "step-1").mkdir(parents=True)
    (folder / "training" / "step-1" / "state.json").write_text("{}")
    (folder / "model.safetensors.tmp").write_text("half")
    archive = store.zip("tiny")
    assert archive.name == "tiny.zip"
    with zipfile.ZipFile(archive) as zipped:
        names = {name for name in zipped.namelist() if not name.endswith("/")}
        assert zipped.read(f"tiny/{WEIGHTS_FILE}") == (folder / WEIGHTS_FILE).read_bytes()
        zipped.extractall(archive.parent / "out")
    assert names == {f"tiny/{p.name}" for p in folder.iterdir() if p.is_file()} - {
        "tiny/model.safetensors.tmp"
    }
    assert load_checkpoint(archive.parent / "out" / "tiny").verified


def test_zips_do_not_pile_up_on_the_disk(store):
    made = [store.zip("tiny") for _ in range(ZIPS + 2)]
    assert [path.exists() for path in made] == [False] * 2 + [True] * ZIPS


def test_the_default_model_stands_first(store, folder):
    for name in ("zeta", "pico-chat", "alpha"):
        shutil.copytree(folder, folder.parent / name)
    assert store.names() == ["pico-chat", "alpha", "tiny", "zeta"]


# --- what is said of a model ------------------------------------------------------------------


def test_info_comes_from_the_manifest(tmp_path):
    meta = {"chat": True, "bits_per_byte": 1.845, "steps": 1500, "corpus": {"name": "talk"}}
    folder = fakes.tiny_checkpoint(tmp_path / "pico-chat", meta)
    info = ModelStore(tmp_path).info("pico-chat")
    assert (info.bits_per_byte, info.steps, info.corpus, info.chat) == (1.845, 1500, "talk", True)
    assert info.parameters == fakes.tiny_model().num_parameters()
    assert info.size == sum(path.stat().st_size for path in folder.iterdir())
    assert info.problem == ""
    assert info.label.startswith("pico-chat, 0.0")
    assert info.label.endswith("M, 1.84 bits/byte") or info.label.endswith("M, 1.85 bits/byte")


def test_a_folder_without_manifest_is_marked(store, folder):
    (folder / "pico.json").unlink()
    info = store.info("tiny")
    assert info.problem == "unverified: not made here"
    assert info.label == "tiny"
    assert store.get("tiny").checkpoint.verified is False


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe\x00", b"null"])
def test_a_broken_manifest_is_told_and_never_raised(store, folder, content):
    (folder / "pico.json").write_bytes(content)
    (info,) = store.infos()
    assert info.problem.startswith("tiny/pico.json")
    assert (info.parameters, info.chat) == (0, False)


@pytest.mark.parametrize("odd", [None, "many", [1], True, {"name": 5}])
def test_odd_values_in_a_manifest_of_others_are_passed_over(tmp_path, odd):
    keys = ("parameters", "bits_per_byte", "steps", "corpus", "greeting", "prompts")
    folder = fakes.tiny_checkpoint(tmp_path / "odd")
    meta = json.loads((folder / "pico.json").read_text())
    (folder / "pico.json").unlink()
    tokenizer = fakes.byte_tokenizer()
    fakes.save_checkpoint(
        folder, fakes.tiny_model(vocab_size=tokenizer.vocab_size), tokenizer,
        {key: odd for key in keys if key != "parameters"},
    )  # fmt: skip
    info = ModelStore(tmp_path).info("odd")
    assert info.parameters == meta["parameters"]
    assert (info.bits_per_byte, info.steps, info.problem) == (None, 0, "")
    assert info.corpus in ("not known", "5")
    assert info.label


# --- the services of a server -----------------------------------------------------------------


def test_a_wrong_model_is_said_when_the_server_starts(tmp_path):
    fakes.tiny_checkpoint(tmp_path / "checkpoints" / "tiny")
    with pytest.raises(CheckpointError, match=r"no model 'tony'. There are: tiny"):
        make_services(tmp_path / "checkpoints", tmp_path, model="tony")


def test_the_first_start_with_nothing_at_all(tmp_path):
    services = make_services(tmp_path / "checkpoints", tmp_path / "corpora")
    assert services.models.names() == services.models.infos() == []
    assert services.first() == ""
    with pytest.raises(CheckpointError, match="There is no model yet"):
        services.models.get(services.first())
    with pytest.raises(CorpusError, match="There is no text to train on yet"):
        services.corpus("stories")


def test_the_first_model_follows_what_is_there(tmp_path):
    folder = fakes.tiny_checkpoint(tmp_path / "pico-chat")
    services = make_services(tmp_path, tmp_path / "corpora")
    shutil.copytree(folder, tmp_path / "other")
    assert services.first() == "pico-chat"
    services.models.delete("pico-chat")
    assert services.first() == "other"


def test_only_listed_texts_can_be_trained_on(tmp_path):
    (tmp_path / "stories.txt").write_text("Once")
    secret = tmp_path.parent / f"{tmp_path.name}-secret.txt"
    secret.write_text("password")
    services = make_services(tmp_path / "checkpoints", tmp_path)
    assert services.corpus("stories") == "stories"
    for name in (str(secret), f"../{secret.name}", "/etc/passwd", "stories.txt", None, 5, ["a"]):
        with pytest.raises(CorpusError, match="Choose one of: stories"):
            services.corpus(name)
    secret.unlink()


# --- streams that can be stopped --------------------------------------------------------------


def test_stop_ends_only_the_sessions_own_stream():
    sessions, mine, other = Sessions(), threading.Event(), threading.Event()
    sessions.begin("me", mine)
    sessions.begin("other", other)
    sessions.stop("me")
    assert (mine.is_set(), other.is_set()) == (True, False)
    assert sessions.holds("me", mine)  # what was written so far may still be shown
    sessions.stop("nobody")


def test_a_new_stream_ends_the_sessions_earlier_one():
    sessions, first, second = Sessions(), threading.Event(), threading.Event()
    sessions.begin("me", first)
    sessions.begin("me", second)
    assert (first.is_set(), second.is_set()) == (True, False)
    assert (sessions.holds("me", first), sessions.holds("me", second)) == (False, True)


def test_a_dropped_stream_may_show_nothing_more():
    sessions, event = Sessions(), threading.Event()
    sessions.begin("me", event)
    sessions.drop("me")
    assert event.is_set()
    assert not sessions.holds("me", event)
    sessions.drop("me")


def test_sessions_are_forgotten_oldest_first():
    sessions, events = Sessions(), [threading.Event() for _ in range(SESSIONS + 1)]
    for number, event in enumerate(events):
        sessions.begin(str(number), event)
    assert not sessions.holds("0", events[0])
    assert sessions.holds("1", events[1])
    assert sessions.holds(str(SESSIONS), events[-1])
