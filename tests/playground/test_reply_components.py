"""The widgets around a reply and a run, checked without a browser."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
pytest.importorskip("gradio")

from playground import components
from playground.components import assets
from playground.components.run_chip import _run_server


def step(token: int, **changes: object) -> SimpleNamespace:
    """A step like the engine's, with ids 1, 2, 3 as its alternatives."""
    pairs = [(1, 0.5, 0.625), (2, 0.3, 0.375), (3, 0.1, 0.0)]
    found = [SimpleNamespace(id=i, prob=p, kept_prob=k) for i, p, k in pairs]
    fields = {"id": token, "prob": 0.3, "kept_prob": 0.375, "rank": 1, "entropy": 1.5, "u": 0.7}
    return SimpleNamespace(**{**fields, "alternatives": tuple(found), **changes})


def payload(*steps: SimpleNamespace) -> dict:
    return components.reply_payload("k", "pico", 3, "temperature 0.8", steps, "<{}>".format)


def test_reply_payload_keeps_what_the_engine_says():
    made = payload(step(2))
    assert {key: made[key] for key in made if key != "tokens"} == {
        "key": "k", "model": "pico", "seed": 3, "settings": "temperature 0.8", "prompt_note": "",
    }  # fmt: skip
    assert made["tokens"] == [
        {
            "text": "<2>", "id": 2, "prob": 0.3, "kept": 0.375, "rank": 1, "entropy": 1.5,
            "u": 0.7, "alts": [["<1>", 0.5, 0.625], ["<2>", 0.3, 0.375], ["<3>", 0.1, 0.0]],
            "chosen": 1,
        }
    ]  # fmt: skip


def test_reply_payload_edges():
    many = tuple(SimpleNamespace(id=i, prob=0.01, kept_prob=0.01) for i in range(40))
    unlisted = step(30, alternatives=many, u=None, entropy=float("nan"), prob=1 / 3)
    made = payload(unlisted)["tokens"][0]
    assert (len(made["alts"]), made["chosen"], made["u"]) == (10, -1, None)
    assert (made["entropy"], made["prob"]) == (0.0, 0.333333)
    assert payload()["tokens"] == []
    json.dumps(payload(unlisted, step(1)), allow_nan=False)


def test_reply_payload_takes_steps_of_the_engine():
    engine = pytest.importorskip("picogpt.engine")
    other = engine.Alternative(id=5, prob=1.0, kept_prob=1.0)
    real = engine.Step(
        id=5, prob=1.0, kept_prob=1.0, rank=0, entropy=0.0, u=None, position=0, seed=1,
        alternatives=(other,),
    )  # fmt: skip
    made = payload(real)["tokens"][0]
    assert (made["text"], made["chosen"], made["alts"]) == ("<5>", 0, [["<5>", 1.0, 1.0]])


def _nothing() -> None:
    return None


@pytest.mark.parametrize("name", ["reply_tokens", "run_chip", "note"])
def test_factories_mount_constant_templates(name):
    extra = {"run_now": _nothing} if name == "run_chip" else {}
    widget = getattr(components, name)("some-id", "Some label", **extra)
    assert (widget.elem_id, widget.label) == ("some-id", "Some label")
    assert widget.html_template == assets.TEMPLATE
    assert widget.value is None
    assert "innerHTML" not in widget.js_on_load
    assert "insertAdjacentHTML" not in widget.js_on_load


def test_run_chip_cleans_what_it_sends():
    run = {"name": "r", "preset": "basic", "state": "running", "percent": 142, "loss": float("nan")}
    widget = components.run_chip("a", "A", run_now=_nothing)
    assert [fn.__name__ for fn in widget.server_fns] == ["run_now"]
    assert _run_server(_nothing)([]) is None
    sent = _run_server(lambda: run)({"anything": 1})
    assert sent == {
        "name": "r", "preset": "basic", "state": "running", "percent": 100.0, "loss": None,
    }  # fmt: skip
    assert _run_server(lambda: {**run, "state": "recorded"})([]) is None
    assert _run_server(lambda: {**run, "loss": 1.84372})([])["loss"] == 1.844
