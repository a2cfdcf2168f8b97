"""How fast the page is, measured as a person meets it: `python tests/browser/measure.py`.

Starts `app.py` with the shipped models in a process of its own, opens the page in a headless
Chromium and prints one JSON object: seconds to the first HTTP 200, memory, milliseconds to the
first word of a reply (idle and while a run trains), from a slider to redrawn bars, and from a
click to painted attention maps. Medians of several rounds; nothing here is asserted.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parent))
from conftest import FLAGS, NAMES

ROOT = Path(__file__).resolve().parents[2]
LONG_TEXT = "The cat sat on the mat because it was warm, and the dog sat by the door. " * 8
NEW_TEXT = """() => {
  const bots = document.querySelectorAll('#conversation [data-testid=bot]');
  return bots.length > window.picoBots && bots[bots.length - 1].textContent.length > 0;
}"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(ROOT / "checkpoints", Path(scratch) / "checkpoints")
        port = _free_port()
        start = time.perf_counter()
        app = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port), "--checkpoints",
             f"{scratch}/checkpoints"],
            cwd=ROOT, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}/"
            result = {"seconds_to_first_200": _wait(url, start)}
            result |= _measure(url, app.pid, rounds)
            print(json.dumps(result, indent=2))
        finally:
            app.terminate()
            app.wait(timeout=30)
    return 0


def _measure(url: str, pid: int, rounds: int) -> dict:
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, NAMES)), None)
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(url)
        page.wait_for_selector("body[data-opened=yes]")
        page.wait_for_timeout(1500)
        result = {
            "first_word_ms": _first_word(page, rounds),
            "memory_mb_with_chat_model": round(_memory(pid) / 1e6),
            "slider_to_bars_ms": _slider(page, rounds),
            "attention_128_tokens_ms": _attention(page, rounds),
        }
        page.get_by_role("tab", name="Train").click()
        page.get_by_role("button", name="Start", exact=True).click()
        page.wait_for_selector("#curve [data-state='running']")
        page.wait_for_function("+document.querySelector('#curve .pico-widget').dataset.n > 3")
        page.get_by_role("tab", name="Chat").click()
        result["first_word_ms_while_training"] = _first_word(page, rounds)
        result["memory_mb_while_training"] = round(_memory(pid) / 1e6)
        browser.close()
    return result


def _first_word(page: Page, rounds: int) -> float:
    """From Enter to the first text of the reply on the page."""
    times = []
    for number in range(rounds):
        count = "document.querySelectorAll('#conversation [data-testid=bot]').length"
        page.evaluate(f"window.picoBots = {count}")
        page.fill("#message textarea", f"Hello! Tell me something, number {number}.")
        start = time.perf_counter()
        page.press("#message textarea", "Enter")
        page.wait_for_function(NEW_TEXT, polling=5)
        times.append(1000 * (time.perf_counter() - start))
        page.wait_for_selector("#reply-tokens [data-ready='1']")
        page.wait_for_timeout(500)
    return round(statistics.median(times), 1)


def _slider(page: Page, rounds: int) -> float:
    """From a change of the temperature to painted bars, both read off the page's own clock."""
    script = """(value) => new Promise((done) => {
      const bars = document.querySelector('#bars .pico-widget');
      const input = document.querySelector('#temperature input[type=range]');
      const before = bars.dataset.paints, start = performance.now();
      new MutationObserver((_, watcher) => {
        if (bars.dataset.paints === before) return;
        watcher.disconnect();
        done(performance.now() - start);
      }).observe(bars, { attributes: true });
      input.value = value;
      input.dispatchEvent(new Event('input', { bubbles: true }));
    })"""
    times = [page.evaluate(script, 0.3 + 0.1 * i) for i in range(rounds)]
    return round(statistics.median(times), 1)


def _attention(page: Page, rounds: int) -> float:
    """From taking a text of at least 128 tokens to painted maps."""
    page.get_by_role("tab", name="Look inside").click()
    times = []
    for number in range(rounds):
        page.wait_for_timeout(300)
        text = f"{number} {LONG_TEXT}"
        script = """(text) => new Promise((done) => {
          const heads = document.querySelector('#heads .pico-widget');
          const box = document.querySelector('#inside-text textarea');
          const start = performance.now();
          new MutationObserver((_, watcher) => {
            if (Number(heads.dataset.n) < 128) return;
            watcher.disconnect();
            done(performance.now() - start);
          }).observe(heads, { attributes: true, attributeFilter: ['data-painted-ms', 'data-n'] });
          box.value = text;
          box.dispatchEvent(new Event('input', { bubbles: true }));
        })"""
        times.append(page.evaluate(script, text))
        page.fill("#inside-text textarea", "short")
        page.wait_for_function("+document.querySelector('#heads .pico-widget').dataset.n < 20")
    page.get_by_role("tab", name="Chat").click()
    return round(statistics.median(times), 1)


def _memory(pid: int) -> int:
    """Resident bytes of a process, as Linux tells them."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(url: str, start: float) -> float:
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return round(time.perf_counter() - start, 2)
        except OSError:
            time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
