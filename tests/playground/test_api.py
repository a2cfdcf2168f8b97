"""The named endpoints as a program sees them: `gradio_client` against a running app."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from picogpt.engine import Engine
from picogpt.pico import load
from playground.build import build_app, launch
from playground.services import Services, make_services
from tests import fakes

WAIT = 60
"""Seconds after which something that should have happened has not."""
TINY = {"steps": 4, "batch_size": 2, "n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 16}


@pytest.fixture(scope="module")
def services(tmp_path_factory) -> Services:
    """A chat model, a model of characters, one text."""
    root = tmp_path_factory.mktemp("api")
    fakes.chat_checkpoint(root / "checkpoints" / "pico-chat")
    fakes.char_checkpoint(root / "checkpoints" / "chars")
    (root / "corpora").mkdir()
    (root / "corpora" / "stories.txt").write_text("The cat sat on the mat by the door. " * 60)
    return make_services(root / "checkpoints", root / "corpora", "cpu")


@pytest.fixture(scope="module")
def url(services: Services) -> Iterator[str]:
    """The address of the app, served by this process."""
    app = build_app(services)
    yield launch(app, port=0, block=False, quiet=True)
    app.close()


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False)


@pytest.fixture(scope="module")
def pico(services: Services):
    """The chat model, loaded beside the app."""
    return load("pico-chat", "cpu", checkpoints=services.models.checkpoints)


def ask(client: Client, endpoint: str, *args: object, **kwargs: object):
    return client.predict(*args, **kwargs, api_name=endpoint)


def test_there_are_these_endpoints_and_only_the_first_argument_is_needed(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(endpoints) == {
        "/chat", "/complete", "/next_token", "/attention", "/tokenize", "/models", "/train",
        "/train_status", "/train_stop",
    }  # fmt: skip
    for name, endpoint in endpoints.items():
        assert all(p["parameter_has_default"] for p in endpoint["parameters"][1:]), name
        assert endpoint["returns"], name


def test_chat_streams_and_ends_with_the_whole_reply(client, pico):
    job = client.submit("Hello", seed=5, max_new_tokens=200, api_name="/chat")
    whole = job.result(timeout=WAIT)
    assert whole == pico.chat(seed=5, max_new_tokens=200).reply("Hello")
    parts = job.outputs()
    assert len(parts) > 1
    assert parts[-1] == whole
    assert all(whole.startswith(part) for part in parts)


def test_the_first_part_arrives_before_the_reply_is_ready(client, monkeypatch):
    go_on, real = threading.Event(), Engine._steps

    def gated(self, *args, **kwargs):
        for n, step in enumerate(real(self, *args, **kwargs)):
            if n == 1:
                assert go_on.wait(WAIT)
            yield step

    monkeypatch.setattr(Engine, "_steps", gated)
    job = client.submit("Hello", seed=5, max_new_tokens=5, api_name="/chat")
    first = next(iter(job))
    assert first
    assert not job.done()
    go_on.set()
    assert len(job.result(timeout=WAIT)) > len(first)


def test_two_chats_at_once_do_not_wait_for_each_other(url, monkeypatch):
    begun, go_on, real = threading.Event(), threading.Event(), Engine._steps

    def gated(self, ids, sampling, *rest):
        for step in real(self, ids, sampling, *rest):
            if sampling.seed == 1:  # the first chat stays where it is until it may go on
                begun.set()
                assert go_on.wait(WAIT)
            yield step

    monkeypatch.setattr(Engine, "_steps", gated)
    one, two = Client(url, verbose=False), Client(url, verbose=False)
    held = one.submit("Hello", seed=1, max_new_tokens=5, api_name="/chat")
    assert begun.wait(WAIT)
    other = two.submit("Hello", seed=2, max_new_tokens=5, api_name="/chat")
    assert other.result(timeout=WAIT)
    same = one.submit("Hello", seed=3, max_new_tokens=5, api_name="/chat")  # even of one client
    assert same.result(timeout=WAIT)
    assert ask(two, "/complete", "The cat", seed=2, max_new_tokens=5)
    assert not held.done()
    go_on.set()
    assert held.result(timeout=WAIT)


def test_a_client_that_goes_away_ends_its_stream(url, monkeypatch):
    closed, pause, real = threading.Event(), threading.Event(), Engine._steps

    def endless(self, *args):
        first = next(real(self, *args))
        try:
            while not pause.wait(0.01):
                yield first
        except GeneratorExit:
            closed.set()
            raise

    monkeypatch.setattr(Engine, "_steps", endless)
    call = f"{url}gradio_api/call/chat"
    event = (
        httpx.post(call, json={"data": ["Hello", *[None] * 9]})
        .raise_for_status()
        .json()["event_id"]
    )
    with httpx.stream("GET", f"{call}/{event}", timeout=WAIT) as answer:
        assert next(answer.iter_lines()) == "event: generating"
    assert closed.wait(WAIT)
    pause.set()


@pytest.mark.parametrize("plain", [True, False], ids=["text", "gradio's parts"])
def test_chat_reads_the_history(client, pico, plain):
    def content(text):
        return text if plain else [{"type": "text", "text": text}]

    history = [
        {"role": "user", "content": content("My name is Mia.")},
        {"role": "assistant", "content": content("Hello Mia.")},
    ]
    got = ask(client, "/chat", "Who am I?", history, seed=2, max_new_tokens=12)
    session = pico.chat(seed=2, max_new_tokens=12)
    session.reply("My name is Mia.")
    session.turns[-1] = type(session.turns[-1])("assistant", "Hello Mia.")
    assert got == session.reply("Who am I?")


def test_complete_takes_the_defaults_of_the_original(client, pico):
    text = ask(client, "/complete", "The cat", seed=4)
    assert text == pico.complete("The cat", 100, temperature=0.8, top_k=20, seed=4)
    assert ask(client, "/complete", "The cat") != ask(client, "/complete", "The cat")  # new dice


def test_settings_reach_the_model(client, services):
    chars = load("chars", "cpu", checkpoints=services.models.checkpoints)
    got = ask(client, "/complete", "The cat", "chars", temperature=0, max_new_tokens=9)
    assert got == chars.complete("The cat", 9, temperature=0)


def test_next_token_gives_probabilities_before_and_after_the_filters(client, pico):
    best = ask(client, "/next_token", "The cat", temperature=1, top_k=3, n=5)
    probs = pico.next_logits("The cat").softmax(0)
    order = probs.topk(5).indices.tolist()
    assert [entry["id"] for entry in best] == order
    assert [entry["prob"] for entry in best] == pytest.approx(probs[order].tolist(), abs=1e-6)
    kept = probs[order[:3]] / probs[order[:3]].sum()
    wanted = [*kept.tolist(), 0, 0]
    assert [entry["kept_prob"] for entry in best] == pytest.approx(wanted, abs=1e-6)
    assert [entry["text"] for entry in best] == [pico.tokenizer.token_text(i) for i in order]
    assert len(ask(client, "/next_token", "The cat", n=10**9)) == pico.tokenizer.vocab_size


def test_attention_gives_every_weight(client, pico):
    answer = ask(client, "/attention", "The cat sat")
    weights = np.frombuffer(base64.b64decode(answer["weights"]), "<f4").reshape(answer["shape"])
    np.testing.assert_allclose(weights, pico.attention("The cat sat").numpy(), atol=1e-6)
    assert len(answer["tokens"]) == answer["shape"][-1]


def test_tokenize_gives_ids_and_texts(client, pico):
    answer = ask(client, "/tokenize", "Hi 😀 <|user|>")
    assert answer["ids"] == pico.tokenizer.encode("Hi 😀 <|user|>")
    assert pico.tokenizer.special_tokens["<|user|>"] not in answer["ids"]
    assert (answer["kind"], answer["vocab_size"]) == ("bpe", 300)
    assert ask(client, "/tokenize", "Hi", "chars")["tokens"] == ["H", "i"]


def test_models_lists_what_there_is(client):
    first, second = (m for m in ask(client, "/models") if m["name"] in ("pico-chat", "chars"))
    assert (first["name"], first["chat"], first["problem"]) == ("pico-chat", True, "")
    assert (second["name"], second["chat"], second["steps"]) == ("chars", False, 7)


def test_a_run_is_started_watched_and_stopped(client, services):
    name = ask(client, "/train", "stories", **(TINY | {"steps": 100_000}), out="mine")
    assert name == "mine"
    with pytest.raises(AppError, match="mine is training here"):
        ask(client, "/train", "stories", **TINY)
    assert ask(client, "/train_status", name)["state"] == "running"
    assert ask(client, "/train_stop") == {"name": "mine", "state": "stopping"}
    assert services.runs.get(name).wait(WAIT)
    status = ask(client, "/train_status")
    assert (status["name"], status["state"], status["error"]) == ("mine", "finished", "")
    steps = [report["step"] for report in status["reports"]]
    assert steps
    assert steps == sorted(steps)
    later = ask(client, "/train_status", name, since=len(steps) - 1)
    assert later["reports"] == status["reports"][-1:]
    assert isinstance(ask(client, "/complete", "The", name, max_new_tokens=3), str)


# --- mistakes ---------------------------------------------------------------------------------

BAD = [
    ("/chat", (" ",), {}, "The message is empty"),
    ("/chat", ("x" * 20_001,), {}, "The message has 20,001 characters"),
    ("/chat", (5,), {}, "The message is a string; 5 is not"),
    ("/chat", ("Hi",), {"model": "nobody"}, "There is no model 'nobody'"),
    ("/chat", ("Hi",), {"model": "../pico-chat"}, "There is no model '../pico-chat'"),
    ("/chat", ("Hi",), {"model": "chars"}, "not trained on conversations"),
    ("/chat", ("Hi",), {"temperature": 5}, "Temperature is 0 to 2 here; 5 is too large."),
    ("/chat", ("Hi",), {"temperature": "hot"}, "Temperature is a number from 0 to 2"),
    ("/chat", ("Hi",), {"top_k": 301}, "Top-k is 0 to 300 here; 301 is too many."),
    ("/chat", ("Hi",), {"top_p": 0}, "Top-p is 0.01 to 1 here; 0 is too small."),
    ("/chat", ("Hi",), {"max_new_tokens": 0}, "Max tokens is 1 to 1,000 here; 0 is too few."),
    ("/chat", ("Hi",), {"seed": "abc"}, "Seed is a whole number"),
    ("/chat", ("Hi", 5), {}, "history is a list"),
    ("/chat", ("Hi", ["Hello"]), {}, "history is a list"),
    ("/chat", ("Hi", [{"role": "boss", "content": "Go"}]), {}, "history is a list"),
    ("/chat", ("Hi", [{"role": "user", "content": 5}]), {}, "content of every message"),
    ("/complete", ("",), {"model": "chars"}, "The prompt is empty"),
    ("/complete", ("café",), {"model": "chars"}, r"'é' \(U\+00E9\)"),
    ("/complete", (["The"],), {}, "The text is a string"),
    ("/next_token", ("The",), {"n": "many"}, "n is a whole number of at least 0"),
    ("/next_token", ("The",), {"top_k": -1}, "Top-k is 0 to 300 here; -1 is too few."),
    ("/attention", ("é",), {"model": "chars"}, "never seen"),
    ("/tokenize", ("é",), {"model": "chars"}, "never seen"),
    ("/tokenize", ({"a": 1},), {}, "The text is a string"),
    ("/train", ("/etc/passwd",), {}, "There is no text '/etc/passwd' here"),
    ("/train", ("stories", "huge"), {}, "There is no preset 'huge'"),
    ("/train", ("stories",), {"n_embd": 100, "n_head": 3}, "n_embd"),
    ("/train", ("stories",), {"steps": "abc"}, "steps is a whole number"),
    ("/train", ("stories",), {"out": "../../x"}, "is not a name for a checkpoint"),
    ("/train_status", ("nobody",), {}, "There is no run 'nobody' here"),
    ("/train_status", (), {"since": -1}, "since is a whole number of at least 0"),
    ("/train_stop", ("nobody",), {}, "There is no run 'nobody' to stop"),
    ("/train_stop", (), {}, "No run is active"),
]


@pytest.mark.parametrize(
    ("endpoint", "args", "kwargs", "words"), BAD, ids=[f"{b[0][1:]}-{b[3][:24]}" for b in BAD]
)
def test_a_mistake_is_one_sentence_and_no_traceback(client, services, capfd, endpoint, args,
                                                    kwargs, words):  # fmt: skip
    if kwargs.get("since") == -1 and services.runs.latest() is None:
        run = services.runs.start(fakes_config())
        assert run.wait(WAIT)
    with pytest.raises(AppError, match=words) as error:
        ask(client, endpoint, *args, **kwargs)
    assert "\n" not in str(error.value)
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    assert err == ""


def fakes_config():
    """A run that ends at once."""
    from trainers.presets import preset

    return preset("small", **TINY, out="once")


def test_after_all_these_mistakes_the_server_answers(client):
    assert ask(client, "/complete", "The cat", max_new_tokens=3)
