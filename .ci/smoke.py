"""What a first visitor does, through `gradio_client`: one chat, the list of models, one training.

Prints what it measured; ends with a non-zero status and a sentence when something is wrong.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

SHIPPED = {"pico-chat", "pico-small"}
FIRST_PAGE = 180
"""Most seconds to wait for the page."""
TRAINING = 600
"""Most seconds to wait for the training."""


class SmokeError(Exception):
    """Something does not work; the message says what."""


def main() -> int:
    """Run all checks and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="address of the app")
    parser.add_argument("--pid", type=int, required=True, help="process id of the app")
    parser.add_argument("--started", type=float, required=True, help="when it was started (epoch)")
    parser.add_argument("--out", required=True, help="name for the model that is trained")
    args = parser.parse_args()
    try:
        wait_for_page(args.url, args.pid, args.started)
        from gradio_client import Client

        client = Client(args.url, verbose=False)
        check_models(client)
        check_chat(client)
        print(f"memory of the app with its chat model: {memory(args.pid)}")
        check_training(client, args.out)
        print(f"memory of the app after the training: {memory(args.pid)}")
    except SmokeError as error:
        print(f"smoke: {error}", file=sys.stderr)
        return 1
    return 0


def wait_for_page(url: str, pid: int, started: float) -> None:
    """Wait for HTTP 200.

    Raises:
        SmokeError: the app ended, or took too long.
    """
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                if answer.status == 200:
                    print(f"first HTTP 200: {time.time() - started:.1f} s after the start")
                    return
        except (urllib.error.URLError, OSError):
            pass  # not there yet
        if not alive(pid):
            raise SmokeError("app.py ended before it served a page.")
        if time.time() - started > FIRST_PAGE:
            raise SmokeError(f"app.py served no page in {FIRST_PAGE} s.")
        time.sleep(0.05)


def check_models(client: object) -> None:
    """Raises SmokeError unless both shipped models are listed and sound."""
    models = {model["name"]: model for model in client.predict(api_name="/models")}
    missing = SHIPPED - models.keys()
    if missing:
        raise SmokeError(f"/models does not list {', '.join(sorted(missing))}.")
    for name in sorted(SHIPPED):
        if models[name]["problem"]:
            raise SmokeError(f"{name}: {models[name]['problem']}")
        print(f"model {name}: {models[name]['parameters']:,} parameters")


def check_chat(client: object) -> None:
    """Raises SmokeError unless pico-chat answers in words."""
    for round in ("first", "second"):
        start, first, reply = time.perf_counter(), None, ""
        job = client.submit("Hello!", model="pico-chat", temperature=0, api_name="/chat")
        for text in job:
            first, reply = first or time.perf_counter(), text
        if not first or not re.search(r"[A-Za-z]{2,}", reply):
            raise SmokeError(f"pico-chat answered {reply!r}, which holds no words.")
        whole = time.perf_counter() - start
        print(f"{round} chat: text after {first - start:.2f} s, whole reply after {whole:.2f} s")
    print(f"pico-chat said: {reply!r}")


def check_training(client: object, out: str) -> None:
    """Raises SmokeError unless a short run finishes and its model completes a text."""
    start = time.perf_counter()
    run = client.predict("stories", "small", steps=30, out=out, api_name="/train")
    while True:
        status = client.predict(run, 10**6, api_name="/train_status")
        if status["state"] in ("finished", "failed"):
            break
        if time.perf_counter() - start > TRAINING:
            raise SmokeError(f"the training was {status['state']} after {TRAINING} s.")
        time.sleep(0.3)
    if status["state"] == "failed" or status["step"] != 30 or status["val_loss"] is None:
        raise SmokeError(f"the training ended wrongly: {status}")
    print(
        f"training of {status['step']} steps: {time.perf_counter() - start:.1f} s in all, "
        f"validation loss {status['val_loss']:.3f} (by chance {status['baselines']['uniform']:.3f})"
    )
    if not status["val_loss"] < status["baselines"]["uniform"]:
        raise SmokeError("the training learned nothing.")
    text = client.predict("Once upon a time", model=run, seed=1, api_name="/complete")
    if not text.strip():
        raise SmokeError(f"{run} completed a text with nothing.")
    print(f"{run} wrote: {text[:60]!r}")


def alive(pid: int) -> bool:
    """Whether the process runs; True where that cannot be told."""
    if not Path("/proc/self").exists():
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def memory(pid: int) -> str:
    """Resident memory of a process, now and at its peak."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return "not known on this system"
    kb = {key: int(rest.split()[0]) for key, _, rest in (line.partition(":") for line in lines)
          if key in ("VmRSS", "VmHWM")}  # fmt: skip
    return f"{kb['VmRSS'] * 1024 / 1e6:.0f} MB (peak {kb['VmHWM'] * 1024 / 1e6:.0f} MB)"


if __name__ == "__main__":
    sys.exit(main())
