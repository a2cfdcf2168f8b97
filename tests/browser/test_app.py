"""The whole app in a browser, on tiny models: what a person does, and what they then see."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="gradio is not installed")

import gradio as gr
import torch

import trainers.run
from picogpt.engine import Engine
from playground.build import build_app, launch
from playground.services import Services, make_services
from tests import fakes

WAIT = 60
"""Seconds after which something that should have happened has not."""
READY = 'body[data-opened="yes"] #bars .pico-widget[data-ready="1"]'
CAPTION = re.compile(r"pico-chat, seed (\d+), (\d+) tokens?(, [\d,]+ tokens/s)?(, stopped)?")
STORY = "The cat sat on the mat, and the dog ran by the door to the sea. "
TABS = ("Chat", "Look inside", "Tokens", "Train", "Models")


@dataclass
class App:
    url: str
    services: Services
    blocks: gr.Blocks


@pytest.fixture(scope="session")
def app(browser, tmp_path_factory) -> Iterator[App]:
    """A chat model, a model of characters, one to delete, one text; served by this process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("app")
    meta = {
        "greeting": "I am <b>tiny</b> & *made up*.", "prompts": ["Hello there", "Who are you?"],
        "bits_per_byte": 1.5, "corpus": {"name": "stories"},
    }  # fmt: skip
    fakes.chat_checkpoint(root / "checkpoints" / "pico-chat", **meta)
    fakes.char_checkpoint(root / "checkpoints" / "chars")
    fakes.char_checkpoint(root / "checkpoints" / "old")
    (root / "corpora").mkdir()
    (root / "corpora" / "stories.txt").write_text(STORY * 40)
    services = make_services(root / "checkpoints", root / "corpora", "cpu")
    blocks = build_app(services)
    yield App(launch(blocks, port=0, block=False, quiet=True), services, blocks)
    run = services.runs.active()
    if run is not None:
        run.stop()
        run.wait(WAIT)
    blocks.close()
    torch.set_num_threads(threads)


@pytest.fixture
def opened(page, app):
    """The page, opened and filled."""
    page.set_default_timeout(1000 * WAIT)
    page.goto(app.url)
    page.wait_for_selector(READY)
    return page


def reload(page) -> None:
    page.reload()
    page.wait_for_selector(READY)


@pytest.fixture
def gate(monkeypatch) -> Iterator[threading.Event]:
    """Streams write one token and then wait for this Event."""
    go_on, real = threading.Event(), Engine._steps

    def gated(self, *args):
        for n, step in enumerate(real(self, *args)):
            if n == 1:
                go_on.wait(WAIT)
            yield step

    monkeypatch.setattr(Engine, "_steps", gated)
    yield go_on
    go_on.set()


@pytest.fixture
def brake(monkeypatch) -> Iterator[threading.Event]:
    """A run that trains makes five reports and then waits for this Event before each."""
    go_on, real = threading.Event(), trainers.run.train

    def braked(*args):
        for n, report in enumerate(real(*args)):
            if n >= 5:
                go_on.wait(WAIT)
            yield report

    monkeypatch.setattr(trainers.run, "train", braked)
    yield go_on
    go_on.set()


def signal(monkeypatch, owner: object, method: str) -> threading.Event:
    """An Event that is set when a method of an object has been called."""
    called, real = threading.Event(), getattr(owner, method)

    def calling(*args):
        result = real(*args)
        called.set()
        return result

    monkeypatch.setattr(owner, method, calling)
    return called


def said(page, who: str = "bot") -> list[str]:
    """What the bubbles of one side show; with `bot` the captions too."""
    texts = page.locator(f"#conversation [data-testid={who}]").all_inner_texts()
    return [text.replace("\u2060", "") for text in texts]


def send(page, text: str) -> None:
    """Write a message, send it with Enter and wait for the first of the answer."""
    count = len(said(page, "user"))
    page.fill("#message textarea", text)
    page.press("#message textarea", "Enter")
    rows = "['user', 'bot'].map((who) => document.querySelectorAll(`#conversation .${who}-row`))"
    page.wait_for_function(
        f"n => {rows}.every((all) => all.length === n + 1 && all[n].innerText.trim())", arg=count
    )


def finish(page, tokens: int | None = None) -> dict[str, str]:
    """Wait for the end of an answer; its caption's seed and tokens."""
    page.wait_for_function(
        "() => { const all = document.querySelectorAll('#conversation [data-testid=bot]');"
        " return all.length && / tokens?(, |$)/.test(all[all.length - 1].innerText); }"
    )
    page.wait_for_selector('#reply-tokens .pico-widget[data-ready="1"]')
    match = CAPTION.fullmatch(said(page)[-1])
    assert match, said(page)[-1]
    return {"seed": match[1], "tokens": match[2], "speed": match[3], "stopped": match[4]}


def shows(page, selector: str, words: str) -> str:
    """Wait until an element's text holds some words; the whole of its text."""
    page.wait_for_function(
        "([s, w]) => document.querySelector(s)?.innerText.includes(w)", arg=[selector, words]
    )
    return page.inner_text(selector).strip()


def tab(page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def choose(page, selector: str, option: str) -> None:
    """Take an option of one of Gradio's dropdowns."""
    page.click(f"{selector} input")
    page.get_by_role("option", name=option).first.click()


def set_number(page, selector: str, value: float) -> None:
    """Type a number into the field of a slider."""
    field = page.locator(f"{selector} input[type=number]")
    field.fill(str(value))
    field.press("Tab")


# --- chat -------------------------------------------------------------------------------------


def test_the_page_opens_with_something_to_see_and_to_do(opened, app):
    page = opened
    assert "I am <b>tiny</b> & *made up*." in page.inner_text("#conversation")
    assert "Hello there" in page.inner_text("#conversation")
    assert page.locator("#bars .bars-row:visible").count() == 12
    assert page.input_value("#model input").startswith("pico-chat, 0.01")
    tab(page, "Look inside")
    page.wait_for_selector('#heads .pico-widget[data-ready="1"]')
    tab(page, "Tokens")
    page.wait_for_selector("#tokens-view .tokens-chip")
    tab(page, "Train")
    shows(page, "#cost", "parameters")
    tab(page, "Models")
    shows(page, "#models-table", "pico-chat")


def test_a_first_chat_streams_and_is_captioned(opened, gate):
    page = opened
    send(page, "Hello")
    (first,) = said(page)
    assert first
    gate.set()
    caption = finish(page)
    assert caption["tokens"] == "100"
    assert caption["speed"]
    reply = said(page)[0]
    assert reply.startswith(first)
    assert len(reply) > len(first)
    assert page.input_value("#message textarea") == ""
    root = page.locator("#reply-tokens .pico-widget")
    assert root.get_attribute("data-n") == "100"


def test_esc_stops_a_reply(opened, app, gate, monkeypatch):
    page, stopped = opened, signal(monkeypatch, app.services.sessions, "stop")
    send(page, "Hello")
    page.keyboard.press("Escape")
    assert stopped.wait(WAIT)
    gate.set()
    caption = finish(page)
    assert caption["stopped"]
    assert int(caption["tokens"]) <= 2


def test_new_while_a_reply_is_written_leaves_nothing_of_it(opened, app, gate, monkeypatch):
    page, dropped = opened, signal(monkeypatch, app.services.sessions, "drop")
    send(page, "Hello")
    page.click("#clear")
    assert dropped.wait(WAIT)
    page.wait_for_function("() => !document.querySelector('#conversation [data-testid=user]')")
    gate.set()
    send(page, "Again")
    finish(page)
    assert said(page, "user") == ["Again"]
    reload(page)
    page.wait_for_selector("#conversation [data-testid=user]")
    assert said(page, "user") == ["Again"]


def test_closing_the_page_ends_its_stream(app, page, gate, monkeypatch):
    ended = signal(monkeypatch, app.services.sessions, "stop")
    other = page.context.new_page()
    other.goto(app.url)
    other.wait_for_selector(READY)
    send(other, "Hello")
    other.close()
    assert ended.wait(WAIT)


def test_text_is_shown_as_it_is_and_loads_nothing(opened):
    page = opened
    text = (
        'Say <b>hi</b> &amp; <img src="/nowhere.png" onerror="document.title=1"> <!-- x --> {{1}}'
    )
    send(page, text)
    finish(page)
    assert said(page, "user") == [text]
    assert page.locator("#conversation b, #conversation .user-row img").count() == 0
    reload(page)
    page.wait_for_selector("#conversation [data-testid=user]")
    assert said(page, "user") == [text]
    page.locator("#conversation button[title=Undo]").click()
    page.wait_for_function("() => document.querySelector('#message textarea').value !== ''")
    assert page.input_value("#message textarea") == text


def test_retry_edit_undo_and_new(opened):
    page = opened
    send(page, "One")
    first = finish(page)
    page.locator("#conversation button[title=Retry]").click()
    page.wait_for_function(
        "seed => { const all = document.querySelectorAll('#conversation [data-testid=bot]');"
        " const words = all.length ? all[all.length - 1].innerText : '';"
        " return words.includes('pico-chat, seed') && !words.includes(`seed ${seed},`); }",
        arg=first["seed"],
    )
    assert said(page, "user") == ["One"]
    send(page, "Two")
    finish(page)
    page.locator("#conversation button[title=Edit]").first.click()
    page.locator("#conversation textarea").fill("One changed")
    page.locator("#conversation button[title=Submit]").click()
    page.wait_for_function(
        "() => document.querySelectorAll('#conversation [data-testid=user]').length === 1"
    )
    finish(page)
    assert said(page, "user") == ["One changed"]
    send(page, "Three")
    finish(page)
    page.locator("#conversation button[title=Undo]").last.click()
    page.wait_for_function(
        "() => document.querySelectorAll('#conversation [data-testid=user]').length === 1"
    )
    assert said(page, "user") == ["One changed"]
    page.wait_for_function("() => document.querySelector('#message textarea').value === 'Three'")
    page.click("#clear")
    page.wait_for_function("() => !document.querySelector('#conversation [data-testid=user]')")
    page.get_by_text("Who are you?", exact=True).click()
    finish(page)
    assert said(page, "user") == ["Who are you?"]


def test_a_mistake_is_said_beside_its_cause_and_the_message_stays(opened):
    page = opened
    page.locator("#more-settings").get_by_text("More settings").click()
    page.fill("#seed input, #seed textarea", "abc")
    page.fill("#message textarea", "Hello")
    page.press("#message textarea", "Enter")
    words = shows(page, "#chat-note", "Seed is a whole number")
    assert "'abc' is not" in words
    assert page.input_value("#message textarea") == "Hello"
    page.fill("#seed input, #seed textarea", "7")
    page.press("#message textarea", "Enter")
    assert finish(page)["seed"] == "7"
    assert said(page, "user") == ["Hello"]


def test_a_long_message_is_cut_and_that_is_said(opened):
    page = opened
    page.fill("#message textarea", "tea " * 100)
    page.press("#message textarea", "Enter")
    shows(page, "#chat-note", "Your message is longer than the context of 64 tokens")


def test_dragging_a_slider_moves_the_bars_without_the_server(opened, app):
    page = opened
    names = ("temperature", "top-k", "top-p", "bars")
    parts = app.blocks.config["components"]
    rail = {part["id"] for part in parts if part["props"].get("elem_id") in names}
    asked: list[str] = []

    def note(request):
        sent = request.post_data_json if request.post_data else {}
        if rail & {sent.get("trigger_id"), sent.get("component_id")}:
            asked.append(f"{request.url} {request.post_data}")

    root = page.locator("#bars .pico-widget")
    handle = page.locator("#temperature input[type=range]")
    box = handle.bounding_box()
    y = box["y"] + box["height"] / 2
    before, kept = root.get_attribute("data-paints"), root.inner_text()
    page.on("request", note)
    page.mouse.move(box["x"] + box["width"] * 0.4, y)
    page.mouse.down()
    for share in (0.6, 0.7, 0.8, 0.9):
        page.mouse.move(box["x"] + box["width"] * share, y)
    page.wait_for_function(
        "n => Number(document.querySelector('#bars .pico-widget').dataset.paints) > Number(n)",
        arg=before,
    )
    page.mouse.up()
    page.remove_listener("request", note)
    assert root.inner_text() != kept
    assert float(page.input_value("#temperature input[type=number]")) > 1.5
    assert asked == []


def test_a_reload_keeps_conversation_settings_and_model(opened):
    page = opened
    set_number(page, "#temperature", 0.35)
    set_number(page, "#top-k", 7)
    send(page, "Remember me")
    finish(page)
    before = said(page)
    reload(page)
    page.wait_for_selector("#conversation [data-testid=user]")
    assert (said(page, "user"), said(page)) == (["Remember me"], before)
    assert page.input_value("#temperature input[type=number]") == "0.35"
    assert page.input_value("#top-k input[type=number]") == "7"
    choose(page, "#model", "chars")
    shows(page, "#chat-note", "chars was trained to continue text")
    reload(page)
    page.wait_for_selector("#text textarea", state="visible")
    assert page.input_value("#model input").startswith("chars")


def test_a_model_that_cannot_chat_completes_and_says_why(opened):
    page = opened
    set_number(page, "#top-k", 200)
    choose(page, "#model", "chars")
    words = shows(page, "#chat-note", "continue text, not to chat")
    assert words.startswith("chars was trained")
    page.wait_for_selector("#text textarea", state="visible")
    assert not page.locator("#message").is_visible()
    page.wait_for_function(
        "() => document.querySelector('#top-k input[type=number]').value === '96'"
    )
    start = page.input_value("#text textarea")
    page.click("#continue")
    shows(page, "#chat-note", "only the newest part is still read")
    text = page.input_value("#text textarea")
    assert text.startswith(start)
    assert len(text) == len(start) + 100
    page.click("#take-back")
    page.wait_for_function("t => document.querySelector('#text textarea').value === t", arg=start)
    page.fill("#text textarea", "café")
    page.click("#continue")
    shows(page, "#chat-note", "'é' (U+00E9)")
    assert page.input_value("#text textarea") == "café"
    choose(page, "#model", "pico-chat")
    page.wait_for_selector("#mode input[type=radio]:not([disabled])")


# --- look inside, tokens ----------------------------------------------------------------------


def test_attention_is_read_by_hovering_and_enlarged_by_a_click(opened, app):
    page = opened
    tab(page, "Look inside")
    heads = page.locator("#heads .pico-widget")
    page.fill("#inside-text textarea", "the cat sat")
    tokens = len(app.services.models.get("pico-chat").encode_prompt("the cat sat"))
    page.wait_for_selector(f'#heads .pico-widget[data-n="{tokens}"]')
    head = page.locator("#heads .heads-button").nth(1)
    box = head.bounding_box()
    page.mouse.move(box["x"] + 3, box["y"] + box["height"] - 4)
    words = page.inner_text("#heads .heads-readout")
    assert re.search(r"head 2.*looks|\u2192.*0\.\d\d|0\.\d\d", words), words
    head.click()
    page.wait_for_selector('#heads .pico-widget[data-zoom="1"]')
    assert page.locator("#heads .heads-zoom").is_visible()
    page.keyboard.press("Escape")
    page.wait_for_selector('#heads .pico-widget[data-zoom=""]')
    assert heads.get_attribute("data-error") == ""


def test_a_reply_is_mapped_though_the_tab_was_never_opened(opened):
    page = opened
    send(page, "Hello")
    finish(page)
    tab(page, "Look inside")
    page.wait_for_selector('#heads .pico-widget[data-ready="1"][data-live="0"]')
    assert page.get_attribute("#heads .pico-widget", "data-error") == ""
    assert int(page.get_attribute("#heads .pico-widget", "data-n")) > 5


def test_maps_grow_while_a_reply_is_written(opened, gate):
    page = opened
    send(page, "Hello")
    tab(page, "Look inside")
    page.wait_for_selector('#heads .pico-widget[data-live="1"]')
    before = int(page.get_attribute("#heads .pico-widget", "data-n"))
    gate.set()
    page.wait_for_selector('#heads .pico-widget[data-live="0"]')
    assert int(page.get_attribute("#heads .pico-widget", "data-n")) != before
    page.click("#take-reply")
    page.wait_for_function(
        "() => document.querySelector('#inside-text textarea').value.startsWith('Hello ')"
    )


def test_tokens_of_a_text_in_two_tokenizers(opened):
    page = opened
    tab(page, "Tokens")
    page.fill("#tokens-text textarea", "the cat <b>")
    view = page.locator("#tokens-view")
    page.wait_for_function(
        "() => document.querySelector('#tokens-view .pico-widget').dataset.n.endsWith(',11')"
    )
    titles = view.inner_text()
    assert "BPE (pico-chat)" in titles
    assert "Characters (this text)" in titles
    assert view.locator("b").count() == 0


# --- train ------------------------------------------------------------------------------------


def shrink(page, steps: int, name: str) -> None:
    """Fill the form for a model that trains in a moment."""
    if not page.locator("#knob-n_layer").is_visible():
        page.locator("#more-knobs").get_by_text("More", exact=True).click()
    values = {"steps": steps, "batch_size": 2, "n_layer": 1, "n_head": 2, "n_embd": 16,
              "block_size": 16, "eval_every": 5, "sample_every": 10}  # fmt: skip
    for knob, value in values.items():
        set_number(page, f"#knob-{knob}", value)
    page.fill("#knob-out input, #knob-out textarea", name)


def test_upload_train_and_chat_with_it(opened, app):
    page = opened
    tab(page, "Train")
    file = {"name": "sea.txt", "mimeType": "text/plain", "buffer": (STORY * 30).encode()}
    page.set_input_files("#upload input[type=file]", files=[file])
    shows(page, "#train-note", "sea.txt, 1.9 KB, is ready to train on.")
    assert page.input_value("#corpus input") == "sea"
    shrink(page, 20, "mine")
    shows(page, "#cost", "640 tokens")
    page.click("#big-button")
    shows(page, "#run-status", "mine: finished, step 20 of 20, validation loss")
    page.wait_for_selector('#curve .pico-widget[data-state="finished"]')
    assert page.input_value("#sample textarea").startswith("Step 20")
    page.click("#chat-with")
    shows(page, "#train-note", "mine is now the model in every tab")
    assert page.input_value("#model input").startswith("mine, 0.00")
    tab(page, "Chat")
    shows(page, "#chat-note", "mine was trained to continue text")
    start = page.input_value("#text textarea")
    page.click("#continue")
    page.wait_for_function(
        "n => document.querySelector('#text textarea').value.length > n", arg=len(start)
    )


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("empty.txt", b"", "empty.txt holds no text"),
        ("photo.md", bytes(range(256)) * 9, "photo.md is a binary file"),
        ("big.txt", b"a b " * 2_600_000, "big.txt is too large: at most 10,000,000 bytes"),
    ],
)
def test_an_upload_that_is_no_text_is_refused_in_a_sentence(opened, name, data, words):
    page = opened
    tab(page, "Train")
    file = {"name": name, "mimeType": "text/plain", "buffer": data}
    page.set_input_files("#upload input[type=file]", files=[file])
    shows(page, "#train-note", words)
    page.set_input_files("#upload input[type=file]", files=[file | {"name": "again.txt"}])
    shows(page, "#train-note", "again.txt")


def test_pause_resume_stop_and_the_same_run_on_every_page(opened, app, brake, monkeypatch):
    page = opened
    other = page.context.new_page()
    other.goto(app.url)
    other.wait_for_selector(READY)
    tab(other, "Train")
    tab(page, "Train")
    shrink(page, 5000, "long")
    page.click("#big-button")
    shows(page, "#run-chip", "training small")
    page.wait_for_selector('#curve .pico-widget[data-n="5"]')
    shows(page, "#big-button", "Pause")
    run = app.services.runs.get("long")
    paused = signal(monkeypatch, run, "pause")
    page.click("#big-button")
    assert paused.wait(WAIT)
    brake.set()
    assert run.wait_paused(WAIT)
    brake.clear()
    points = len(run.snapshot()["reports"])
    assert points == 6
    at = f"long: paused, step {run.snapshot()['step']:,} of 5,000"
    whole = f'#curve .pico-widget[data-n="{points}"][data-state="paused"]'
    for each in (page, other):  # the other was open before the run began
        shows(each, "#run-status", at)
        each.wait_for_selector(whole)
    reload(page)
    tab(page, "Train")
    shows(page, "#run-status", at)
    page.wait_for_selector(whole)
    shows(page, "#big-button", "Resume")
    page.click("#big-button")
    shows(page, "#run-status", "long: running")
    page.click("#stop-run")
    page.wait_for_selector("#stop-sure", state="visible")
    page.click("#stop-not")
    page.wait_for_selector("#stop-sure", state="hidden")
    assert run.state == "running"
    stopped = signal(monkeypatch, run, "stop")
    page.click("#stop-run")
    page.click("#stop-sure")
    assert stopped.wait(WAIT)
    brake.set()
    assert run.wait(WAIT)
    total = len(run.snapshot()["reports"])
    for each in (page, other):
        shows(each, "#run-status", "long: finished")
        each.wait_for_selector(f'#curve .pico-widget[data-n="{total}"][data-state="finished"]')
    shows(page, "#big-button", "Start")
    other.close()


def test_a_form_that_does_not_fit_is_said_and_starts_nothing(opened, app):
    page = opened
    tab(page, "Train")
    shrink(page, 20, "bad")
    set_number(page, "#knob-n_head", 3)
    shows(page, "#cost", "n_embd")
    page.click("#big-button")
    shows(page, "#train-note", "n_embd")
    assert app.services.runs.get("bad") is None


# --- models -----------------------------------------------------------------------------------


def test_models_are_used_downloaded_and_deleted_after_a_question(opened, app, tmp_path):
    page = opened
    tab(page, "Models")
    page.locator("#models-table").get_by_text("old", exact=True).first.click()
    page.wait_for_function("() => document.querySelector('#picked-model input').value === 'old'")
    page.click("#use-model")
    shows(page, "#models-note", "old is now the model in every tab.")
    assert page.input_value("#model input").startswith("old")
    with page.expect_download() as download:
        page.click("#download-model")
    assert download.value.suggested_filename == "old.zip"
    folder: Path = app.services.models.checkpoints / "old"
    page.click("#delete-model")
    shows(page, "#models-note", "Delete old? Its folder is removed")
    page.click("#keep-model")
    page.wait_for_selector("#really-delete", state="hidden")
    assert folder.is_dir()
    page.click("#delete-model")
    page.click("#really-delete")
    shows(page, "#models-note", "old was deleted.")
    assert not folder.exists()
    page.wait_for_function(
        "() => document.querySelector('#model input').value.startsWith('pico-chat')"
    )
    assert "old" not in page.inner_text("#models-table").split()


def test_a_damaged_model_is_refused_and_the_chosen_one_stays(opened, app):
    page = opened
    folder = fakes.char_checkpoint(app.services.models.checkpoints / "broken")
    (folder / "model.safetensors").write_bytes(b"\x00" * 64)
    tab(page, "Models")
    page.locator("#models-table").get_by_text("broken", exact=True).first.click()
    page.click("#use-model")
    shows(page, "#models-note", "broken/model.safetensors is damaged")
    assert page.input_value("#model input").startswith("pico-chat")
    app.services.models.delete("broken")


# --- the page ---------------------------------------------------------------------------------


def test_light_and_dark_survive_a_reload(opened):
    page = opened
    dark = page.evaluate("document.body.classList.contains('dark')")
    page.click("#theme-toggle")
    page.wait_for_function("d => document.body.classList.contains('dark') !== d", arg=dark)
    reload(page)
    assert page.evaluate("document.body.classList.contains('dark')") is not dark


def test_on_a_phone_no_tab_scrolls_sideways(opened):
    page = opened
    page.set_viewport_size({"width": 390, "height": 844})
    send(page, "unbreakable" * 20)
    finish(page)
    for name in TABS:
        visible = page.get_by_role("tab", name=name)
        if visible.is_visible():
            visible.click()
        else:  # Gradio folds the tabs that do not fit into a menu
            page.locator("#tabs .overflow-menu > button").click()
            page.locator("#tabs .overflow-dropdown").get_by_text(name, exact=True).click()
        page.wait_for_function(
            "() => document.documentElement.scrollWidth <= window.innerWidth", timeout=5000
        )


def test_every_field_and_button_has_a_name(opened):
    page = opened
    for name in TABS:
        tab(page, name)
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('button, input, textarea, select')]
                .filter((e) => e.offsetParent && e.type !== 'hidden' && e.type !== 'file')
                .filter((e) => !(e.innerText?.trim() || e.ariaLabel || e.title || e.placeholder
                    || e.labels?.[0]?.innerText.trim() || e.getAttribute('aria-labelledby')))
                .map((e) => e.outerHTML.slice(0, 200))"""
        )
        assert nameless == [], name
