"""The payload helpers of the widgets, checked without a browser."""

from __future__ import annotations

import base64
import json
import os

import numpy as np
import pytest

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
pytest.importorskip("gradio")

from playground import components
from playground.components import assets, heads_grid, loss_curve
from playground.components.heads_grid import _rows_server
from playground.components.loss_curve import _loss_server

FACTORIES = ["heads_grid", "loss_curve", "next_token_bars", "token_view"]


def u8(text: str) -> list[int]:
    return list(base64.b64decode(text))


def f32(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


def test_pack_u8_rounds_and_clips():
    assert u8(assets.pack_u8(np.array([0, 0.5, 1, 1.2, -3, np.nan]))) == [0, 128, 255, 255, 0, 0]


def test_pack_rows_orders_token_layer_head_position():
    # 2 layers, 1 head, 2 tokens: token 0 of both layers, then token 1 of both layers.
    weights = np.zeros((2, 1, 2, 2))
    weights[0, 0] = [[10, 99], [20, 30]]
    weights[1, 0] = [[40, 99], [50, 60]]
    weights /= 255
    assert u8(components.pack_rows(weights)) == [10, 40, 20, 30, 50, 60]
    assert u8(components.pack_rows(weights, start=1)) == [20, 30, 50, 60]
    assert u8(components.pack_rows(weights, start=2)) == []


def test_appended_rows_equal_the_whole():
    weights = np.random.default_rng(0).random((3, 2, 7, 7))
    parts = [components.pack_rows(weights[:, :, :n, :n], start=n - 1) for n in range(1, 8)]
    assert [v for part in parts for v in u8(part)] == u8(components.pack_rows(weights))


def test_heads_payload():
    weights = np.ones((1, 2, 3, 3))
    whole = components.heads_payload("k", ["a", "b", "c"], weights)
    assert (whole["n"], whole["tokens"], "from" in whole) == (3, ["a", "b", "c"], False)
    part = components.heads_payload("k", ["a", "b", "c"], weights, start=2, live=True)
    assert (part["from"], part["tokens"], part["live"]) == (2, ["c"], True)
    assert len(u8(part["data"])) == 2 * 3
    with pytest.raises(ValueError, match="3 are needed"):
        components.heads_payload("k", ["a"], weights)
    with pytest.raises(ValueError, match="L, H, T, T"):
        components.pack_rows(np.ones((2, 3, 3)))


def test_bars_payload_sorts_and_keeps_ties_in_order():
    payload = components.bars_payload(np.array([1.0, 3.0, 1.0, 2.0]), str, "note")
    assert payload["tokens"] == ["1", "3", "0", "2"]
    assert f32(payload["logits"]).tolist() == [3, 2, 1, 1]
    assert payload["rest"] == {"n": 0, "lse": 0.0}
    json.dumps(payload, allow_nan=False)


def test_bars_payload_counts_what_is_not_sent():
    logits = np.random.default_rng(1).normal(size=10_000)
    payload = components.bars_payload(logits, str)
    sent = f32(payload["logits"]).astype(np.float64)
    assert (len(sent), payload["rest"]["n"], len(payload["tokens"])) == (8192, 1808, 40)
    total = np.exp(sent).sum() + np.exp(payload["rest"]["lse"])
    assert total == pytest.approx(np.exp(logits).sum(), rel=1e-6)


def test_bars_payload_refuses_nan_and_shapes():
    for bad in (np.array([1.0, np.nan]), np.zeros((2, 2)), np.zeros(0)):
        with pytest.raises(ValueError, match="one row"):
            components.bars_payload(bad, str)


def test_loss_payload_has_no_nan():
    points = components.loss_points([1, 2], [np.float32(2.5), float("nan")], [(2, np.inf)])
    lines = {"unigram": 6.1, "broken": float("nan")}
    payload = components.loss_payload("r", points, state="running", baselines=lines)
    assert payload["points"] == {"step": [1, 2], "train": [2.5, None], "val": [[2, None]]}
    assert payload["baselines"] == [{"label": "unigram", "value": 6.1}]
    json.dumps(payload, allow_nan=False)
    with pytest.raises(ValueError, match="2 losses"):
        components.loss_points([1, 2], [1.0], [])


def test_token_column_shows_partial_characters_as_bytes():
    column = components.token_column("B", [b"caf\xc3\xa9", b"\xf0\x9f", "!"], [1, 2, 3])
    assert column["tokens"][0] == ["caf\u00e9", 1]
    assert column["tokens"][1][2] == "f0 9f"
    assert column["tokens"][2] == ["!", 3]
    assert column["summary"] == "3 tokens, 2 characters a token"
    assert components.token_column("B", [], [])["summary"] == "0 tokens"
    with pytest.raises(ValueError, match="1 are needed"):
        components.token_column("B", ["a"], [])


@pytest.mark.parametrize("name", FACTORIES)
def test_factories_mount_constant_templates(name):
    widget = getattr(components, name)("some-id", "Some label")
    assert (widget.elem_id, widget.label) == ("some-id", "Some label")
    assert widget.html_template == assets.TEMPLATE
    assert widget.value is None
    assert "innerHTML" not in widget.js_on_load
    assert "insertAdjacentHTML" not in widget.js_on_load


def test_server_functions_check_what_the_browser_sends():
    asked = []

    def answer(*args):
        asked.append(args)
        return {"ok": True}

    rows, loss = _rows_server(answer), _loss_server(answer)
    for bad in (None, [], ["k"], ["k", -1], [1, 2], ["k", "2"], {"k": 1}, ["k", 1.5]):
        assert rows(bad) is None
        assert loss(bad) is None
    assert asked == []
    assert rows(["k", 2]) == {"ok": True}
    assert loss(["r", 2, 0]) == {"ok": True}
    assert asked == [("k", 2), ("r", 2, 0)]


def test_polling_is_declared_to_gradio():
    grid = heads_grid("a", "A", rows_since=lambda key, n: None)
    curve = loss_curve("b", "B", loss_since=lambda run, n, n_val: None)
    assert [fn.__name__ for fn in grid.server_fns] == ["rows_since"]
    assert [fn.__name__ for fn in curve.server_fns] == ["loss_since"]


def test_read_asset_stays_in_its_folder():
    for name in ("../assets.js", "assets.py", "/etc/passwd"):
        with pytest.raises(ValueError, match="is not a"):
            assets.read_asset(name)
