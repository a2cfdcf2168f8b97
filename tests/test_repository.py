"""The repository as a whole: pinned packages, bytes that stay as they are, documented code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==\d+(\.\d+)*")
#: Imported name -> the package it is installed as, where they differ, or which brings it along.
PACKAGES = {"gradio_client": "gradio", "starlette": "gradio", "httpx": "gradio"}
OURS = {"app", "picogpt", "trainers", "playground", "tests", "conftest"}
SHIPPED = ("pico-chat", "pico-small")
HIDDEN = (".ci", ".gitattributes", ".gitignore")
#: Folders of the working tree that are no part of the repository.
NOT_OURS = ("uploads", "training", "__pycache__", "node_modules")


def files(*suffixes: str) -> list[Path]:
    """Files of the repository, without environments, caches, uploads and one's own models."""

    def walk(folder: Path) -> Iterator[Path]:
        for path in folder.iterdir():
            hidden = path.name.startswith(".") and path.name not in HIDDEN
            own = folder == ROOT / "checkpoints" and path.name not in SHIPPED
            if hidden or own or path.name in NOT_OURS or path.is_symlink():
                continue
            if path.is_dir():
                yield from walk(path)
            elif not suffixes or path.suffix in suffixes:
                yield path

    return sorted(walk(ROOT))


def requirements(name: str) -> list[str]:
    return (ROOT / name).read_text(encoding="utf-8").split("\n")[:-1]


# --- files ------------------------------------------------------------------------------------


def test_models_and_texts_are_kept_byte_for_byte() -> None:
    rules = (ROOT / ".gitattributes").read_text(encoding="utf-8").splitlines()
    for folder in ("checkpoints", "corpora"):
        rule = f"{folder}/** -text"
        assert rule in rules
        assert rules.index(rule) > rules.index("* text=auto eol=lf")  # the last match counts


def test_uploads_and_new_checkpoints_stay_out_and_shipped_ones_go_in() -> None:
    rules = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    for rule in ("/corpora/uploads/", "/checkpoints/*", ".venv/"):
        assert rule in rules
    for name in SHIPPED:
        assert f"!/checkpoints/{name}/" in rules


def test_nothing_names_a_place_on_some_machine() -> None:
    places = re.compile("|".join(f"(?<![\\w.])/{name}/" for name in ("work", "root", "home")))
    found = []
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # weights and pictures
        found += [f"{path.relative_to(ROOT)}: {hit}" for hit in places.findall(text)]
    assert found == []


def test_the_standing_papers_are_there_and_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d[^]]*)\] - \d{4}-\d\d-\d\d$", changes, re.MULTILINE)
    assert newest and newest[1] == project["version"]
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")
    assert project["license"] == "MIT"
    assert "bash .ci/run" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert (ROOT / "SECURITY.md").is_file()


def test_the_script_of_ci_is_sound_bash() -> None:
    done = subprocess.run(["bash", "-n", ".ci/run"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# --- packages ---------------------------------------------------------------------------------


def test_every_requirement_is_an_exact_version() -> None:
    plain, more = requirements("requirements.txt"), requirements("tests/requirements.txt")
    assert more[0] == "-r ../requirements.txt"
    assert [line for line in plain + more[1:] if not PIN.fullmatch(line)] == []
    names = [line.split("==")[0].lower() for line in plain + more[1:]]
    assert len(names) == len(set(names))


def test_the_lock_file_holds_every_requirement() -> None:
    lock = [line for line in requirements("requirements.lock") if not line.startswith("#")]
    assert [line for line in lock if not PIN.fullmatch(line)] == []
    asked = requirements("requirements.txt") + requirements("tests/requirements.txt")[1:]
    assert set(asked) <= set(lock)


@pytest.mark.parametrize(
    ("places", "listed"),
    [
        (("app.py", "picogpt", "trainers", "playground", ".ci"), ("requirements.txt",)),
        (("tests",), ("requirements.txt", "tests/requirements.txt")),
    ],
    ids=["the code", "the tests"],
)
def test_what_is_imported_is_required(places: tuple[str, ...], listed: tuple[str, ...]) -> None:
    known = {line.split("==")[0] for name in listed for line in requirements(name)}
    missing = {}
    for path in files(".py"):
        if path.relative_to(ROOT).parts[0] in places:
            for module in imports(ast.parse(path.read_text(encoding="utf-8"))):
                if PACKAGES.get(module, module) not in known:
                    missing[module] = str(path.relative_to(ROOT))
    assert missing == {}


def imports(tree: ast.AST) -> set[str]:
    """Packages from elsewhere that a file imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return names - OURS - set(sys.stdlib_module_names)


# --- code that says what it does --------------------------------------------------------------


def test_every_public_function_is_documented_and_annotated() -> None:
    found = []
    for path in files(".py"):
        place = path.relative_to(ROOT)
        if place.parts[0] in ("app.py", "picogpt", "trainers", "playground", ".ci"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found += [f"{place}:{problem}" for problem in undocumented(tree)]
    assert found == []


def undocumented(tree: ast.Module) -> Iterator[str]:
    """What public modules, classes and functions lack, each with its line."""
    if not ast.get_docstring(tree):
        yield "1 has no docstring"
    for node in public(tree):
        if not ast.get_docstring(node) and node.name != "__init__":  # the class tells of that
            yield f"{node.lineno} {node.name} has no docstring"
        if not isinstance(node, ast.ClassDef):
            for argument in unannotated(node):
                yield f"{node.lineno} {node.name}: {argument} is not annotated"


def public(node: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """Classes and functions that others may use: `__init__` is, `_help` and `__len__` are not."""
    for child in node.body:
        if not isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if child.name.startswith("_") and child.name != "__init__":
            continue
        yield child
        if isinstance(child, ast.ClassDef):
            yield from public(child)


def unannotated(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Arguments of a function without an annotation, and `its result`."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    for argument in [*named, *filter(None, (given.vararg, given.kwarg))]:
        if argument.annotation is None and argument.arg not in ("self", "cls"):
            yield argument.arg
    if function.returns is None:
        yield "its result"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("x = 1", "1 has no docstring"),
        ('"""M."""\ndef f() -> None: pass', "2 f has no docstring"),
        ('"""M."""\nclass A:\n  """A."""\n  def f(self) -> None: pass', "4 f has no docstring"),
        ('"""M."""\ndef f(x) -> None:\n  """F."""', "2 f: x is not annotated"),
        ('"""M."""\ndef f(*x, **y: int):\n  """F."""', "2 f: its result is not annotated"),
    ],
)
def test_what_is_missing_is_found(source: str, problem: str) -> None:
    assert problem in list(undocumented(ast.parse(source)))


def test_private_things_need_no_docstring() -> None:
    source = '"""M."""\ndef _f(x): pass\nclass A:\n  """A."""\n  def __init__(self) -> None: pass'
    assert list(undocumented(ast.parse(source))) == []
