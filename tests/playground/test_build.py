"""The page is made from whatever is there, and from whatever a browser remembers."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
import pytest

from playground.build import Memory, build_app
from playground.chatting import CHAT, greeting, prompts
from playground.services import make_services
from tests import fakes


def test_a_page_without_any_model_or_text(tmp_path):
    app = build_app(make_services(tmp_path / "none", tmp_path / "nowhere"))
    parts = {part["props"].get("elem_id"): part["props"] for part in app.config["components"]}
    assert parts["model"]["choices"] == []
    assert parts["corpus"].get("value") is None


def test_every_handler_gives_as_many_values_as_it_has_outputs(tmp_path):
    """Those that need no request: Gradio itself would say so only when they are used."""
    fakes.chat_checkpoint(tmp_path / "pico-chat")
    services = make_services(tmp_path, tmp_path / "corpora")
    app = build_app(services)
    given = {"keep": (), "ask_stop": (), "stay": (), "open": (), "restore": ({}, {}, {}),
             "choose": (CHAT, "pico-chat", 20), "switch": (CHAT,), "take_back": ([], "x"),
             "load_preset": ("fast",), "follow": ("",), "upload": (None,), "chat_with": ("x",),
             "refresh": ("pico-chat",), "ask": (None,), "use": ("x",), "zip": ("x",),
             "delete": ("x", "pico-chat"), "columns": ("text", "pico-chat"),
             "read": ("text", "pico-chat")}  # fmt: skip
    checked = set()
    for event in app.fns.values():
        name = getattr(event.fn, "__name__", "")
        if name in given and hasattr(event.fn, "__self__"):
            values = event.fn(*given[name])
            count = len(values) if isinstance(values, tuple) else 1
            assert count == len(event.outputs), name
            checked.add(name)
    assert checked == set(given)


@pytest.mark.parametrize(
    "stored", [None, {}, [], "x", {"controls": None}, {"controls": [1, 2]}, {"controls": "x" * 9}]
)
def test_odd_things_in_a_browsers_memory_give_the_defaults(tmp_path, stored):
    fakes.chat_checkpoint(tmp_path / "pico-chat")
    memory = Memory(SimpleNamespace(services=make_services(tmp_path, tmp_path)))
    model, mode, *settings, messages, text = memory.restore(stored, stored, stored)
    assert (model["value"], mode) == ("pico-chat", CHAT)
    assert messages == text == gr.skip()
    assert settings == [gr.skip()] * 7


def test_a_remembered_model_that_is_gone_is_replaced(tmp_path):
    fakes.chat_checkpoint(tmp_path / "other")
    memory = Memory(SimpleNamespace(services=make_services(tmp_path, tmp_path)))
    kept = {"controls": ["gone", CHAT, 0.5, 7, 1, 0, 1, 50, "3"]}
    model, _, *settings, _, _ = memory.restore(kept, {}, {})
    assert model["value"] == "other"
    assert settings == [0.5, 7, 1, 0, 1, 50, "3"]


def test_a_greeting_of_others_is_text_and_no_markup():
    words = greeting("m", {"greeting": "Hi *you* <img src=x> ![](http://a.b) [l](c)"})
    assert words.startswith(r"Hi \*you\* \<img src\=x\> \!\[\]\(http\:")
    assert greeting("m", {"greeting": None}) == r"Say hello to m\."
    assert prompts({"prompts": [str(i) for i in range(20)]}) == list("01234567")
    assert prompts({"prompts": "abc"}) == prompts({}) == []
