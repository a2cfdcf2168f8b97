"""Our own widgets in a real browser, with made-up data."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

widget_app = pytest.importorskip("widget_app", reason="gradio is not installed")

from playground.components.assets import read_asset


@pytest.fixture(scope="module")
def app(browser) -> Iterator[tuple[str, object]]:
    """The address of the tiny app, and the run behind its curve."""
    demo, run = widget_app.build()
    yield widget_app.launch(demo), run
    demo.close()


@pytest.fixture
def opened(page, app):
    """The page, opened, with its first widget painted."""
    page.goto(app[0])
    page.wait_for_selector('#bars .pico-widget[data-ready="1"]')
    return page


def oracle(logits: np.ndarray, temperature: float, top_k: int, top_p: float, min_p: float):
    """The same filters in numpy, by whole sorted arrays instead of loops."""
    scaled = logits / temperature
    if top_k:
        scaled = np.where(np.arange(len(scaled)) < top_k, scaled, -np.inf)
    probs = np.exp(scaled - scaled.max())
    probs /= probs.sum()
    keep = probs > 0
    if top_p < 1:
        keep &= np.cumsum(probs) - probs < top_p
    keep &= probs >= min_p * probs.max()
    keep[0] = True
    kept = np.where(keep, probs, 0)
    return kept / kept.sum()


def test_sampling_math_agrees_with_numpy(page):
    rng = np.random.default_rng(3)
    for _ in range(30):
        size = int(rng.integers(1, 300))
        logits = np.sort(rng.normal(size=size).astype(np.float32) * 3)[::-1].astype(np.float64)
        settings = {
            "temperature": float(rng.choice([0.3, 0.8, 1.0, 1.7])),
            "top_k": int(rng.choice([0, 1, 5, 50, 1000])),
            "top_p": float(rng.choice([0.0, 0.5, 0.9, 1.0])),
            "min_p": float(rng.choice([0.0, 0.05, 0.3])),
        }
        code = f"([l, s]) => {{ {read_asset('sampling_math.js')}\n"
        code += "return Array.from(picoSample(Float32Array.from(l), {n: 0, lse: 0}, s).after) }"
        got = page.evaluate(code, [logits.tolist(), settings])
        np.testing.assert_allclose(got, oracle(logits, **settings), atol=1e-9, err_msg=settings)


def test_sampling_math_edges(page):
    code = f"([l, r, s]) => {{ {read_asset('sampling_math.js')}\n"
    code += "const a = picoSample(Float32Array.from(l), r, s);"
    code += "return [Array.from(a.after), Array.from(a.cut), a.kept, Array.from(a.before)] }"
    none = {"n": 0, "lse": 0}
    after, cut, kept, _ = page.evaluate(code, [[2, 2, 1], none, {"temperature": 0}])
    assert (after, cut, kept) == ([1, 0, 0], [0, 4, 4], 1)
    _, cut, kept, _ = page.evaluate(code, [[1, 1, 1, 1], none, {"top_k": 2}])
    assert (cut, kept) == ([0, 0, 1, 1], 2)
    # One token at logit 0 and three not sent, also at 0: each has a quarter.
    rest = {"n": 3, "lse": float(np.log(3))}
    after, _, kept, before = page.evaluate(code, [[0], rest, {}])
    assert after == pytest.approx([0.25])
    assert before == pytest.approx([0.25])
    assert kept == 4
    assert page.evaluate(code, [[], none, {}]) == [[], [], 0, []]


def test_bars_follow_the_page_without_the_server(opened):
    page = opened
    rows = page.locator("#bars .bars-row:visible")
    assert rows.count() == 12
    assert rows.nth(1).locator(".bars-token").text_content() == "\u00b7cat"
    assert rows.nth(7).locator(".bars-token").text_content() == "\u21b5"
    page.click("#fill")
    page.wait_for_selector('#bars-two .pico-widget[data-ready="1"]')
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.evaluate(
        """() => new Promise((done) => {
            window.picoSampling.set({temperature: 1, top_k: 3, top_p: 1, min_p: 0});
            requestAnimationFrame(() => done());
        })"""
    )
    for name in ("#bars", "#bars-two"):
        root = page.locator(f"{name} .pico-widget")
        assert root.get_attribute("data-kept") == "3"
        assert float(root.get_attribute("data-paint-ms")) >= 0
        assert page.locator(f"{name} .bars-row").nth(3).get_attribute("data-cut") == "top-k"
        assert "cut by top-k" in page.locator(f"{name} .bars-row").nth(3).get_attribute("title")
    page.evaluate("window.picoSampling.set({temperature: 0})")
    page.wait_for_selector('#bars .pico-widget[data-kept="1"]')
    assert rows.nth(0).locator(".bars-now").text_content() == "100%"
    asked = [url for url in requests if "loss_since" not in url and "component_server" not in url]
    assert asked == []
    page.wait_for_function("document.querySelectorAll('#bars tbody tr').length === 12")


def test_no_text_becomes_markup(opened):
    page = opened
    tokens = page.locator("#tokens .pico-widget")
    assert tokens.locator("b").count() == 0
    texts = page.locator("#bars .bars-token").all_text_contents()
    assert "<b>hi</b>" in texts
    assert "\u00b7${1+1}" in texts
    assert "\u00b7{{x}}" in texts


def test_heads_hover_and_enlarge(opened):
    page = opened
    page.wait_for_selector('#heads .pico-widget[data-n="12"]')
    button = page.locator("#heads .heads-button").nth(5)
    box = button.bounding_box()
    cell = box["width"] / 12
    # Row 4 looks at column 1: " the" -> " cat".
    page.mouse.move(box["x"] + 1.5 * cell, box["y"] + 4.5 * cell)
    weight = widget_app.made_attention(3, 4, 12)[1, 1, 4, 1]
    expected = f"layer 2, head 2: ' the' \u2192 ' cat', {round(weight * 255) / 255:.2f}"
    assert page.locator("#heads .heads-readout").text_content() == expected
    button.click()
    page.wait_for_selector('#heads .pico-widget[data-zoom="5"]')
    assert page.locator("#heads .heads-title").text_content() == "layer 2, head 2"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    zoom = page.locator("#heads .heads-zoom-readout")
    # The cursor starts on the last row: token 11, "The", and then looks at column 1.
    weight = round(widget_app.made_attention(3, 4, 12)[1, 1, 11, 1] * 255) / 255
    expected = f"layer 2, head 2: 'The' \u2192 ' cat', {weight:.2f}"
    assert zoom.text_content() == expected
    page.keyboard.press("Escape")
    page.wait_for_selector('#heads .pico-widget[data-zoom=""]')
    focus = "document.activeElement.dataset.layer + ',' + document.activeElement.dataset.head"
    assert page.evaluate(focus) == "1,1"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    assert page.evaluate(focus) == "0,2"
    page.keyboard.press("Enter")
    page.wait_for_selector('#heads .pico-widget[data-zoom="2"]')
    page.get_by_role("button", name="Next head").locator("visible=true").click()
    page.wait_for_selector('#heads .pico-widget[data-zoom="3"]')
    page.get_by_role("button", name="Close this head (Esc)").locator("visible=true").click()
    page.wait_for_selector('#heads .pico-widget[data-zoom=""]')


def test_heads_table_names_the_strongest_links(opened):
    page = opened
    page.wait_for_selector('#heads .pico-widget[data-described="12"]')
    rows = page.locator("#heads tbody tr")
    assert rows.count() == 12
    weights = np.rint(widget_app.made_attention(3, 4, 12)[0, 0] * 255)
    weights[0] = -1
    t, j = np.unravel_index(weights.argmax(), weights.shape)
    cells = rows.nth(0).locator("td").all_text_contents()
    names = [text.replace("\n", "\u21b5") for text in widget_app.made_tokens(12)]
    assert cells == ["1", "1", names[t], names[j], f"{weights[t, j] / 255:.2f}"]


def test_heads_of_128_tokens_leave_the_future_empty(opened):
    page = opened
    assert page.locator("#heads-filled .pico-empty").is_visible()
    page.click("#fill")
    page.wait_for_selector('#heads-filled .pico-widget[data-n="128"]')
    assert float(page.get_attribute("#heads-filled .pico-widget", "data-painted-ms")) > 0
    pixel = """() => {
        const canvas = document.querySelector("#heads-filled canvas");
        const ratio = canvas.width / canvas.clientWidth;
        const b = document.querySelector("#heads-filled .heads-button");
        const read = (x, y) => Array.from(canvas.getContext("2d").getImageData(
            (b.offsetLeft + x) * ratio, (b.offsetTop + y) * ratio, 1, 1).data);
        return [read(1, 1), read(b.offsetWidth - 3, 3)];
    }"""
    own, ahead = page.evaluate(pixel)
    assert own[3] == 255
    assert ahead[3] == 0


def test_heads_grow_live(opened):
    page = opened
    page.wait_for_selector('#heads-live .pico-widget[data-n="16"][data-live="0"]', timeout=15000)
    read = "([t]) => document.querySelector('#heads-live .pico-widget').dataset.error"
    assert page.evaluate(read, [0]) == ""


def test_loss_curve_polls_until_finished(opened, app):
    page = opened
    root = '#curve .pico-widget[data-state="finished"][data-n="500"][data-n-val="10"]'
    page.locator("#curve").scroll_into_view_if_needed()
    page.wait_for_selector(root, timeout=20000)
    page.wait_for_function("document.querySelector('#state textarea, #state input').value !== ''")
    assert page.locator("#state textarea, #state input").input_value() == "finished"
    asked = app[1].asked
    page.locator("#curve .loss-area").focus()
    page.keyboard.press("Home")
    readout = page.locator("#curve .pico-readout")
    assert readout.text_content().startswith("step 1: train ")
    page.keyboard.press("End")
    assert readout.text_content().startswith("step 500: train ")
    assert re.search(r"validation 1\.\d\d at step 500, nats/token$", readout.text_content())
    box = page.locator("#curve .loss-area").bounding_box()
    page.mouse.move(box["x"] + 44 + (box["width"] - 52) / 2, box["y"] + 100)
    step = int(page.get_attribute("#curve .pico-widget", "data-cursor"))
    assert abs(step - 250) < 4
    page.wait_for_timeout(900)
    assert app[1].asked == asked
    page.wait_for_function("document.querySelectorAll('#curve tbody tr').length === 12")


def test_loss_curve_takes_20_000_points(page):
    steps = list(range(20_000))
    points = {"step": steps, "train": [2.0 + (s % 7) / 10 for s in steps], "val": [[0, 3.0]]}
    code = "(points) => {" + read_asset("loss_data.js")
    code += """const store = lossStore({run: "r", points, total: 0});
        const limits = lossLimits(store, null);
        const columns = lossColumns(store.step, store.train, (s) => s / 25);
        return [columns.length, limits.right, limits.bottom, limits.top]; }"""
    columns, right, bottom, top = page.evaluate(code, points)
    assert columns == 801
    assert (right, bottom) == (20_000, 2.0)
    assert 3.0 <= top <= 3.2


def test_token_view_chips_keys_and_events(opened):
    page = opened
    page.wait_for_selector('#tokens .pico-widget[data-ready="1"]')
    first = page.locator("#tokens .tokens-flow").nth(0).locator(".tokens-chip")
    first.nth(2).hover()
    readout = page.locator("#tokens .pico-readout").nth(0)
    assert readout.text_content().startswith("token 3 of ")
    first.nth(2).click()
    page.wait_for_function("document.querySelector('#picked textarea, #picked input').value !== ''")
    assert page.locator("#picked textarea, #picked input").input_value() == "0:2:2"
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.i") == "3"
    page.keyboard.press("ArrowDown")
    assert int(page.evaluate("document.activeElement.dataset.i")) > 3
    page.keyboard.press("End")
    assert readout.text_content().endswith("2 bytes: 98 80")
    assert page.locator("#tokens .tokens-chip[tabindex='0']").count() == 2
    assert page.locator("#tokens .tokens-id").first.is_visible()
    page.click("#tokens .tokens-toggle")
    assert not page.locator("#tokens .tokens-id").first.is_visible()


@pytest.mark.parametrize("width", [340, 390, 1100])
def test_nothing_is_wider_than_the_page(opened, width):
    page = opened
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_timeout(300)
    wide = """() => Array.from(document.querySelectorAll(".pico-widget")).filter((node) =>
        node.getBoundingClientRect().right > innerWidth + 1
        || node.scrollWidth > node.clientWidth + 1
    ).map((node) => node.parentElement.parentElement.id + node.scrollWidth)"""
    assert page.evaluate(wide) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
