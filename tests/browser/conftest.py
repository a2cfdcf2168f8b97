"""A headless Chromium without a network, and pages that fail on console errors."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import pytest

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
CUT_SHORT = ("AbortError: signal is aborted", "Connection errored out")
"""What Gradio says of its requests when the page is left or reloaded; an error at other times."""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def _missing(reason: str) -> None:
    """Skip with a plain reason; under CI=true a browser that is missing is a failure."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"{reason}; CI needs the browser tests")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """One headless Chromium for the whole run; it can reach nothing but 127.0.0.1."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed (pip install playwright)")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        if path is None and not Path(playwright.chromium.executable_path).exists():
            _missing(f"no browser on the PATH, looked for {', '.join(NAMES)}")
        instance = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield instance
        instance.close()


@pytest.fixture
def page(browser) -> Iterator[object]:
    """A fresh page of 1200 by 900; the test fails on console errors and outside requests."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    tab = context.new_page()
    problems: list[str] = []
    cut: list[str] = []
    leaving = False

    def on_console(message: object) -> None:
        if message.type == "error" and any(words in message.text for words in CUT_SHORT):
            cut.extend([] if leaving else [f"console: {message.text}"])
        elif message.type == "error":
            problems.append(f"console: {message.text}")

    def on_arrival(_: object) -> None:
        nonlocal leaving
        leaving = False

    def on_request(request: object) -> None:
        nonlocal leaving
        if request.is_navigation_request():
            leaving = True
            cut.clear()
        parts = urlsplit(request.url)
        if parts.scheme in {"http", "https", "ws", "wss"} and parts.hostname != "127.0.0.1":
            problems.append(f"request to another host: {request.url}")

    tab.on("console", on_console)
    tab.on("pageerror", lambda error: problems.append(f"page error: {error}"))
    tab.on("request", on_request)
    tab.on("domcontentloaded", on_arrival)
    yield tab
    context.close()
    assert not problems + cut, "\n".join(problems + cut)
