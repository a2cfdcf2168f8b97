"""The README tells the truth: its examples are run as they stand, its tables and paths checked.

The examples run in a copy of the repository, so that what they save goes nowhere else. A block
that no rule here covers is a failure.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainers.estimate import usual_vocab
from trainers.presets import PRESETS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SHIPPED = ("pico-chat", "pico-small")
ADDRESS = "http://127.0.0.1:7860"
SECONDS = 600

START = (
    "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python app.py"
)
TEST = (
    "python3 -m venv .venv && .venv/bin/pip install -r tests/requirements.txt && "
    ".venv/bin/python -m pytest"
)
#: Lines that are not run here, and why.
NOT_RUN = {
    START: "installs and serves; .ci/run performs it",
    TEST: "installs and runs these tests; .ci/run performs it",
}


def blocks(language: str) -> list[str]:
    return [code for name, code in BLOCKS if name == language]


def commands(block: str) -> list[str]:
    """The lines of a bash block without comments, in order."""
    found = []
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        if words:
            found.append(line if line in NOT_RUN else shlex.join(words))
    return found


def short(code: str) -> str:
    """A name for a block in the list of tests."""
    last = [line for line in code.splitlines() if line.strip()][-1]
    return re.sub(r"\W+", "-", last)[:40].strip("-")


# --- where the examples run -------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is in the repository, without anyone's own models and uploads."""
    missing = [name for name in SHIPPED if not (ROOT / "checkpoints" / name).is_dir()]
    assert not missing, f"the examples need checkpoints/{missing}"
    copy = tmp_path_factory.mktemp("readme")
    skip = shutil.ignore_patterns("__pycache__", "uploads", "training")
    for name in ("picogpt", "trainers", "playground", "corpora"):
        shutil.copytree(ROOT / name, copy / name, ignore=skip)
    for name in SHIPPED:
        shutil.copytree(ROOT / "checkpoints" / name, copy / "checkpoints" / name, ignore=skip)
    for name in ("app.py", "README.md"):
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def address(place: Path) -> Iterator[str]:
    """The page, served from the copy on a free port."""
    from playground.build import build_app, launch
    from playground.services import make_services

    services = make_services(place / "checkpoints", place / "corpora", "cpu")
    app = build_app(services)
    yield launch(app, port=0, block=False, quiet=True).rstrip("/")
    run = services.runs.active()
    if run is not None:
        run.stop()
        run.wait(SECONDS)
    app.close()


def run_in(place: Path, *command: str) -> str:
    """Run a command in the copy with this Python; its stdout."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        command, cwd=place, env=os.environ | {"PATH": path, "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


# --- every block ------------------------------------------------------------------------------


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    assert {language for language, _ in BLOCKS} == {"python", "bash", "text"}
    assert README.count("```") == 2 * len(BLOCKS)


def test_every_line_of_a_terminal_is_one_that_is_run_or_named_above() -> None:
    lines = [line for block in blocks("bash") for line in commands(block)]
    known = ("python -m picogpt ", "python -m trainers ", "python app.py ")
    assert [line for line in lines if line not in NOT_RUN and not line.startswith(known)] == []
    assert set(NOT_RUN) <= set(lines)


@pytest.mark.parametrize("code", blocks("python"), ids=short)
def test_a_python_example_runs(code: str, place: Path, request: pytest.FixtureRequest) -> None:
    if ADDRESS in code:
        code = code.replace(ADDRESS, request.getfixturevalue("address"))
    script = place / "example.py"
    script.write_text(code, encoding="utf-8")
    assert run_in(place, sys.executable, script.name).strip()


@pytest.mark.parametrize(
    "block", [b for b in blocks("bash") if "python -m" in b and TEST not in b], ids=short
)
def test_terminal_examples_run(block: str, place: Path) -> None:
    for line in commands(block):
        output = run_in(place, *shlex.split(line))
        assert output.strip(), line


def test_the_flags_of_the_page_exist() -> None:
    known = set(re.findall(r"--[\w-]+", run_in(ROOT, sys.executable, "app.py", "--help")))
    shown = [
        line for block in blocks("bash") for line in commands(block)
        if line.startswith("python app.py")
    ]  # fmt: skip
    assert len(shown) >= 2
    for line in shown:
        assert set(re.findall(r"--[\w-]+", line)) <= known, line


def test_the_tree_shows_what_is_there() -> None:
    (tree,) = blocks("text")
    names = [line.split()[0] for line in tree.splitlines()]
    assert len(names) >= 8
    assert [name for name in names if not (ROOT / name).exists()] == []


# --- the words around them --------------------------------------------------------------------


def test_the_two_commands_are_on_the_first_screen_and_performed_by_ci() -> None:
    first = README.splitlines()[:20]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in (START, TEST):
        assert command in first
        install, _, rest = command.rpartition(" && ")
        assert install in ci and rest in ci


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_table_of_presets_is_true() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| ([\d/]+) \| (\w+).*? \| ([\d.]+) M \| (.+) \|$", README, re.M
    )
    assert [row[0] for row in rows] == list(PRESETS)
    for name, sizes, tokenizer, millions, purpose in rows:
        config = PRESETS[name].config
        shape = (config.n_layer, config.n_head, config.n_embd, config.block_size)
        assert sizes == "/".join(map(str, shape))
        assert tokenizer == {"char": "characters", "bpe": "BPE"}[config.tokenizer]
        parameters = config.model(usual_vocab(config)).parameters()
        assert float(millions) == pytest.approx(parameters / 1e6, rel=0.01)
        assert purpose == PRESETS[name].purpose
