"""The widgets around a reply and a run in a real browser, with made-up data."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

reply_app = pytest.importorskip("reply_app", reason="gradio is not installed")
widget_app = pytest.importorskip("widget_app", reason="gradio is not installed")

from playground.components.assets import read_asset

PANEL = "#reply .why-panel"
CONTRAST = """([selector]) => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const light = (colour, under) => {
        canvas.fillStyle = under; canvas.fillRect(0, 0, 1, 1);
        canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
        const rgb = Array.from(canvas.getImageData(0, 0, 1, 1).data).slice(0, 3);
        const [r, g, b] = rgb.map((v) => v / 255).map((v) =>
            v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const back = (node) => {
        for (; node; node = node.parentElement) {
            const colour = getComputedStyle(node).backgroundColor;
            if (colour !== "rgba(0, 0, 0, 0)") return colour;
        }
        return "white";
    };
    return Array.from(document.querySelectorAll(selector)).filter((node) =>
        node.offsetParent !== null && node.textContent && !node.disabled
        && !node.closest(".pico-hidden")
    ).map((node) => {
        const under = back(node);
        const a = light(getComputedStyle(node).color, under);
        const b = light(under, under);
        return [node.textContent, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
    });
}"""


@pytest.fixture(scope="module")
def app(browser) -> Iterator[tuple[str, object]]:
    """The address of the tiny app, and the run behind its chip."""
    demo, run = reply_app.build()
    yield widget_app.launch(demo), run
    demo.close()


@pytest.fixture
def opened(page, app):
    """The page, opened, with the strip painted and no run."""
    app[1].now = None
    page.goto(app[0])
    page.wait_for_selector('#reply .pico-widget[data-ready="1"][data-n="14"]')
    return page


def math(page, expression: str, *args: object) -> object:
    """A value of the panel's pure functions; ``a`` are the arguments."""
    picks = "const element = document.body;" + read_asset("common.js") + read_asset("why_math.js")
    return page.evaluate(f"(a) => {{ {picks} return {expression}; }}", list(args))


def token(shape: str) -> dict:
    """One token of the payload, made by the Python helper."""
    step = reply_app.made_step(0, shape)
    return reply_app.reply_payload("k", "m", 1, "", [step], reply_app.token_text)["tokens"][0]


def test_dice_line_worked_by_hand(page):
    pieces = math(page, "whyPieces(a[0])", token("usual"))
    got = [(piece["text"], piece["from"], piece["to"], piece["chosen"]) for piece in pieces]
    assert got == [
        (",", 0, 0.5, False),
        ("Hello", 0.5, 0.75, True),
        (" I", 0.75, 0.875, False),
        (" am", 0.875, 0.9375, False),
        (None, 0.9375, 1, False),
    ]
    # Not listed: 0.0625 of the line are other words, and u 0.99 lies inside the chosen one.
    pieces = math(page, "whyPieces(a[0])", token("rare"))
    chosen = next(piece for piece in pieces if piece["chosen"])
    assert chosen["from"] <= 0.99 < chosen["to"]
    assert chosen["to"] - chosen["from"] == pytest.approx(0.0125)
    assert [piece["text"] for piece in pieces][-3:] == [None, " unlikely", None]
    # A penalty put unlisted words before the chosen one.
    pieces = math(page, "whyPieces(a[0])", token("penalised"))
    assert [piece["text"] for piece in pieces] == [",", None, "Hello", " I", None]
    assert pieces[2]["from"] <= 0.85 < pieces[2]["to"]
    assert pieces[-1]["to"] == pytest.approx(1)
    assert math(page, "whyPieces(a[0]).length", token("sure")) == 1


def test_words_of_the_panel(page):
    said = math(page, "a.map(whyPercent)", 1, 0.41176, 0.07352, 0.000312, 0.9997, 1e-9, 0)
    assert said == ["100%", "41.2%", "7.35%", "0.0312%", "99.97%", "<0.0001%", "0%"]
    assert math(page, "a.map((b) => whyUnsure(b).word)", 0.2, 2, 6) == [
        "quite sure", "undecided", "guessing",
    ]  # fmt: skip
    assert "4.96 equally likely" in math(page, "whyUnsure(a[0]).text", 2.31)
    assert math(page, "whyDice(a[0])", token("usual")) == "The dice fell at 0.630, inside 'Hello'."
    assert math(page, "whyDice(a[0])", token("zero")).startswith("Temperature 0: no dice")
    assert "beyond the words listed" in math(page, "whyDice(a[0])", token("rare"))
    bare = {key: value for key, value in token("usual").items() if key != "chosen"}
    assert math(page, "whyChosen(a[0])", bare) == 1


def test_click_opens_and_escape_gives_the_focus_back(opened):
    page = opened
    panel = page.locator(PANEL)
    assert not panel.is_visible()
    page.locator("#reply .reply-chip").nth(1).click()
    page.wait_for_selector('#reply .pico-widget[data-open="1"]')
    assert panel.locator(".why-token").text_content() == ","
    lead = "Chosen with probability 20.0% (rank 2 of the alternatives)."
    assert panel.locator(".why-chosen").text_content() == lead
    assert "undecided" in panel.locator(".why-unsure").text_content()
    assert panel.locator(".why-dice").get_attribute("data-u") == "0.63"
    assert panel.locator('.bars-row[data-chosen="1"] .bars-token').text_content() == ","
    assert panel.locator(".bars-row:visible").count() == 10
    place = "[...document.querySelectorAll('#reply .why-pin, #reply [data-kind=chosen]')]"
    boxes = page.evaluate(f"{place}.map((n) => n.getBoundingClientRect().toJSON())")
    chosen, pin = sorted(boxes, key=lambda box: -box["width"])
    assert chosen["left"] < pin["left"] < chosen["right"]
    assert page.evaluate("document.activeElement.className") == "why-panel"
    assert page.evaluate("document.body.dataset.why") == "open"
    page.keyboard.press("Escape")
    page.wait_for_selector('#reply .pico-widget[data-open=""]')
    assert not panel.is_visible()
    assert page.evaluate("document.activeElement.dataset.i") == "1"
    assert page.evaluate("document.body.dataset.why") is None
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector('#reply .pico-widget[data-open="2"]')
    assert panel.locator(".why-sentence").text_content().startswith("Temperature 0: no dice")
    assert not panel.locator(".why-dice").is_visible()
    page.get_by_role("button", name="Close this panel (Esc)").click()
    page.wait_for_selector('#reply .pico-widget[data-open=""]')
    assert page.evaluate("document.activeElement.dataset.i") == "2"


def test_brackets_step_anywhere_but_in_a_field(opened):
    page = opened
    page.keyboard.press("]")
    page.wait_for_selector('#reply .pico-widget[data-open="0"]')
    page.keyboard.press("]")
    page.wait_for_selector('#reply .pico-widget[data-open="1"]')
    page.keyboard.press("[")
    page.keyboard.press("[")
    page.wait_for_selector('#reply .pico-widget[data-open="0"]')
    assert page.get_by_role("button", name="Previous token ([)").is_disabled()
    page.locator("#message textarea, #message input").focus()
    page.keyboard.type("a[0]")
    assert page.locator("#message textarea, #message input").input_value() == "a[0]"
    assert page.get_attribute("#reply .pico-widget", "data-open") == "0"
    page.keyboard.press("Escape")
    page.wait_for_selector('#reply .pico-widget[data-open=""]')
    focused = "document.activeElement.closest('#message') !== null"
    assert page.evaluate(focused)


def test_the_same_reply_grows_and_another_closes_the_panel(opened):
    page = opened
    page.locator("#reply .reply-chip").nth(3).click()
    page.wait_for_selector('#reply .pico-widget[data-open="3"]')
    assert page.locator("#reply .reply-chip b").count() == 0
    assert "<b>hi</b>" in page.locator("#reply .reply-chip").all_text_contents()
    page.evaluate("document.querySelector('#reply .reply-chip').dataset.mine = 'kept'")
    page.evaluate("document.querySelector('#grow').click()")
    page.wait_for_selector('#reply .pico-widget[data-n="20"][data-open="3"]')
    assert page.locator("#reply .reply-chip").count() == 20
    assert page.locator('#reply .reply-chip[data-mine="kept"]').count() == 1
    assert page.locator(f"{PANEL} .why-place").text_content() == "token 4 of 20, id 99"
    page.evaluate("document.querySelector('#other').click()")
    page.wait_for_selector('#reply .pico-widget[data-n="5"][data-open=""]')
    assert "no longer read" in page.locator("#reply .reply-note").text_content()
    page.evaluate("document.querySelector('#clear').click()")
    page.wait_for_selector('#reply .pico-widget[data-n="0"][data-ready="0"]')
    assert page.locator("#reply .reply-empty").is_visible()
    page.keyboard.press("]")
    assert page.get_attribute("#reply .pico-widget", "data-open") == ""


@pytest.mark.parametrize(
    ("width", "left", "panel", "top"),
    [(1300, 940, 360, 0), (1200, 840, 360, 0), (900, 0, 320, 0), (390, 0, 390, 270)],
)
def test_panel_is_never_clipped(opened, width, left, panel, top):
    page = opened
    page.set_viewport_size({"width": width, "height": 900})
    page.add_style_tag(
        content="#clipping { overflow: hidden; transform: translateX(0); contain: paint; }"
    )
    page.locator("#reply .reply-chip").nth(3).click()
    page.wait_for_selector('#reply .pico-widget[data-open="3"]')
    box = page.locator(PANEL).bounding_box()
    assert (box["x"], box["width"], box["y"] + box["height"]) == (left, panel, 900)
    assert box["y"] >= top - 1
    hit = f"document.elementFromPoint({left + panel // 2}, 850).closest('.why-panel') !== null"
    assert page.evaluate(hit)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = f"(() => {{ const n = document.querySelector('{PANEL}'); "
    assert page.evaluate(wide + "return n.scrollWidth - n.clientWidth })()") == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out(page, app, theme):
    app[1].now = {"name": "r", "preset": "basic", "state": "failed", "percent": 12, "loss": None}
    page.goto(f"{app[0]}?__theme={theme}")
    page.wait_for_selector('#chip .pico-widget[data-state="failed"]')
    page.click("#error")
    page.wait_for_selector('#note .pico-widget[data-kind="error"]')
    page.locator("#reply .reply-chip").nth(3).click()
    page.wait_for_selector('#reply .pico-widget[data-open="3"]')
    seen = page.evaluate(CONTRAST, [".reply-chip, .why-panel *, .run-text, .note-line *"])
    assert len(seen) > 60
    assert [pair for pair in seen if pair[1] < 4.5] == []


def test_panel_leaves_with_the_widget(opened):
    page = opened
    page.keyboard.press("]")
    page.wait_for_selector('#reply .pico-widget[data-open="0"]')
    page.evaluate("document.querySelector('#reply').remove()")
    page.keyboard.press("]")
    assert page.locator(".why-panel:popover-open").count() == 0


def test_run_chip_holds_no_space_until_there_is_a_run(opened, app):
    page, run = opened, app[1]
    page.wait_for_selector('#chip .pico-widget[data-ready="1"]', state="attached")
    assert page.evaluate("document.querySelector('#chip').getBoundingClientRect().width") == 0
    run.now = {"name": "r1", "preset": "basic", "state": "running", "percent": 42.3, "loss": 1.8437}
    page.wait_for_selector('#chip .pico-widget[data-state="running"]', timeout=5000)
    button = page.get_by_role("button", name="training basic, 42%, loss 1.84. Open training.")
    assert button.text_content() == "training basic, 42%, loss 1.84"
    live = page.locator("#chip [aria-live]")
    assert live.text_content() == "training basic, 42%"
    run.now = {**run.now, "percent": 60.0}
    page.wait_for_selector('#chip .pico-widget[data-percent="60"]', timeout=5000)
    assert live.text_content() == "training basic, 42%"
    page.locator("#chip .run-chip").click()
    page.wait_for_function("document.querySelector('#opened textarea, #opened input').value")
    assert page.locator("#opened textarea, #opened input").input_value() == "r1"
    run.now = {**run.now, "state": "finished", "percent": 100.0}
    page.wait_for_selector('#chip .pico-widget[data-state="finished"]', timeout=5000)
    assert live.text_content() == "basic finished"
    run.now = None
    page.wait_for_selector("#chip", state="hidden", timeout=5000)


def test_note_holds_its_line(opened):
    page = opened
    height = "document.querySelector('#note .pico-widget').getBoundingClientRect().height"
    before = page.evaluate(height)
    assert before >= 20
    page.click("#busy")
    page.wait_for_selector('#note .pico-widget[data-kind="busy"]')
    assert page.locator("#note [role=status]").text_content() == "Reading <b>file</b>"
    assert page.evaluate(height) == before
    page.click("#error")
    page.wait_for_selector('#note .pico-widget[data-kind="error"]')
    assert page.locator("#note [role=alert]").text_content().startswith("top-k is 0 to 8,000")
    assert page.locator("#note [role=status]").text_content() == ""
    assert page.evaluate(height) == before
    page.click("#quiet")
    page.wait_for_selector('#note .pico-widget[data-kind=""]')
    assert page.evaluate(height) == before


@pytest.mark.parametrize("width", [340, 390, 1100])
def test_nothing_is_wider_than_the_page(opened, width):
    page = opened
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_timeout(300)
    wide = """() => Array.from(document.querySelectorAll(".pico-widget")).filter((node) =>
        node.getBoundingClientRect().right > innerWidth + 1
    ).length"""
    assert page.evaluate(wide) == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
