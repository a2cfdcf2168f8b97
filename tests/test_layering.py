"""Who may import whom, and what may not happen while a module is imported.

Only the source is read, nothing is run. Every rule is shown a breach, so that a rule which could
never fail would be noticed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("picogpt", "trainers", "playground", "app.py")

PICKLERS = ("pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal")

#: Path of an importing file or folder -> modules it may not import, and why.
FORBIDDEN: list[tuple[str, tuple[str, ...], str]] = [
    ("picogpt", ("trainers", "playground", "app", "gradio", "gradio_client"),
     "picogpt stands on its own"),
    ("trainers", ("playground", "app", "gradio", "gradio_client"),
     "training knows no browser"),
    ("playground", ("app",), "imports run from app to playground"),
    ("picogpt/model.py",
     tuple(f"picogpt.{name}" for name in
           ("tokenizers", "engine", "text", "chat", "pico", "checkpoint", "cli")),
     "the model knows ids only"),
    ("picogpt/engine.py",
     tuple(f"picogpt.{name}" for name in
           ("tokenizers", "text", "chat", "pico", "checkpoint", "cli")),
     "the engine knows no text"),
    ("trainers/loop.py", ("threading", "_thread", "concurrent", "multiprocessing"),
     "the loop has no threads"),
    *[(place, PICKLERS, "nothing is pickled") for place in (*OURS, "tests", ".ci")],
]  # fmt: skip

#: Calls that have no place at module level: they parse arguments, choose devices, read files,
#: load models or build pages. A name without a dot also stands for a method of that name.
AT_IMPORT = (
    "parse_args", "parse_known_args", "open", "read_text", "read_bytes", "iterdir", "glob",
    "is_available", "device_count", "set_num_threads", "set_default_device", "manual_seed",
    "choose_device", "load", "load_checkpoint", "load_tokenizer", "from_pretrained", "load_file",
    "gr.Blocks", "gradio.Blocks", "Blocks", "build_app", "launch", "Thread", "mkdir", "write_text",
    "write_bytes", "print", "input", "system", "Popen",
)  # fmt: skip


# --- the checker ------------------------------------------------------------------------------


def imported(tree: ast.AST, path: PurePosixPath) -> Iterator[str]:
    """Dotted names of all modules (or names in modules) that a file imports, wherever it does."""
    package = path.parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            name, first = ast.unparse(node.func), node.args[0]
            if name.split(".")[-1] in ("import_module", "__import__", "importorskip"):
                yield str(first.value) if isinstance(first, ast.Constant) else "?"


def executed_at_import(node: ast.AST) -> Iterator[ast.Call]:
    """Calls that run when the module is imported: not those in function bodies and lambdas."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        defaults = [default for default in node.args.kw_defaults if default is not None]
        for part in (*node.decorator_list, *node.args.defaults, *defaults):
            yield from executed_at_import(part)
        return
    if isinstance(node, ast.Lambda) or is_main_guard(node):
        return
    if isinstance(node, ast.Call):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from executed_at_import(child)


def is_main_guard(node: ast.AST) -> bool:
    """Whether this is `if __name__ == "__main__":` without an else."""
    return (
        isinstance(node, ast.If)
        and not node.orelse
        and ast.unparse(node.test) == "__name__ == '__main__'"
    )


def inside(path: PurePosixPath, place: str) -> bool:
    return path == PurePosixPath(place) or PurePosixPath(place) in path.parents


def below(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def tab_of(name: str) -> str:
    """The tab that a module of playground/tabs belongs to: `train_form` is part of `train`."""
    return name.split("_")[0]


def import_breaches(tree: ast.AST, path: PurePosixPath) -> Iterator[str]:
    modules = sorted(set(imported(tree, path)))
    for place, names, why in FORBIDDEN:
        for module in modules:
            if inside(path, place) and any(below(module, name) for name in names):
                yield f"{path} imports {module}: {why}"
    if inside(path, "playground/tabs") and path.stem != "__init__":
        own = tab_of(path.relative_to("playground/tabs").parts[0].removesuffix(".py"))
        for module in modules:
            other = module.removeprefix("playground.tabs.").split(".")[0]
            if module.startswith("playground.tabs.") and tab_of(other) != own:
                yield f"{path} imports {module}: one tab does not know another"


def call_breaches(tree: ast.AST, path: PurePosixPath) -> Iterator[str]:
    if path.name != "__main__.py":  # that one is there to be run
        for call in executed_at_import(tree):
            name = ast.unparse(call.func)
            if name in AT_IMPORT or name.split(".")[-1] in AT_IMPORT:
                yield f"{path}:{call.lineno} calls {name}() when it is imported"
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("torch.load", "torch.save"):
            words = {word.arg: ast.unparse(word.value) for word in call.keywords}
            if ast.unparse(call.func) == "torch.save" or words.get("weights_only") != "True":
                yield f"{path}:{call.lineno} calls {ast.unparse(call.func)}: nothing is pickled"


def breaches(source: str, path: str) -> list[str]:
    """Every rule that a file of this content would break at this place in the repository."""
    tree, place = ast.parse(source, path), PurePosixPath(path)
    return [*import_breaches(tree, place), *(call_breaches(tree, place) if ours(place) else ())]


def ours(path: PurePosixPath) -> bool:
    return any(inside(path, place) for place in OURS)


def sources() -> list[str]:
    """Every Python file of the repository that a rule is about."""
    places = [ROOT / place for place in (*OURS, "tests", ".ci")]
    files = [
        file for place in places for file in ([place] if place.is_file() else place.rglob("*.py"))
    ]
    return sorted(file.relative_to(ROOT).as_posix() for file in files)


# --- the repository ---------------------------------------------------------------------------


def test_no_file_breaks_a_rule() -> None:
    files = sources()
    assert "picogpt/model.py" in files and "tests/test_layering.py" in files
    found = [
        breach for file in files for breach in breaches((ROOT / file).read_text("utf-8"), file)
    ]
    assert found == []


@pytest.mark.parametrize("place", ["picogpt/model.py", "picogpt/engine.py"])
def test_the_files_that_have_rules_of_their_own_exist(place: str) -> None:
    assert (ROOT / place).is_file()


# --- every rule can fail ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("picogpt/x.py", "import gradio as gr"),
        ("picogpt/x.py", "from gradio.themes import Soft"),
        ("picogpt/cli/chat.py", "def f():\n    import trainers.loop"),
        ("picogpt/x.py", "from playground import forms"),
        ("picogpt/x.py", "import trainers"),
        ("picogpt/x.py", "import importlib\nimportlib.import_module('gradio')"),
        ("picogpt/x.py", "gr = __import__('gradio')"),
        ("trainers/x.py", "import gradio"),
        ("trainers/x.py", "from playground.forms import f"),
        ("trainers/x.py", "if True:\n    from app import main"),
        ("playground/x.py", "import app"),
        ("picogpt/model.py", "from picogpt.engine import Engine"),
        ("picogpt/model.py", "from picogpt import engine"),
        ("picogpt/model.py", "from . import tokenizers"),
        ("picogpt/model.py", "from .tokenizers.bpe import BPETokenizer"),
        ("picogpt/model.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
                             "    import picogpt.tokenizers"),
        ("picogpt/engine.py", "from picogpt.text import with_text"),
        ("trainers/loop.py", "import threading"),
        ("trainers/loop.py", "from concurrent.futures import ThreadPoolExecutor"),
        ("playground/tabs/chat.py", "from playground.tabs import train"),
        ("playground/tabs/chat.py", "from . import train"),
        ("playground/tabs/chat.py", "from .train import build"),
        ("playground/tabs/chat.py", "import playground.tabs.train_form"),
        ("playground/tabs/inside/view.py", "from ..chat import build"),
        ("app.py", "import pickle"),
        ("tests/x/test_x.py", "from pickle import loads"),
        (".ci/check.py", "import dill"),
        ("trainers/x.py", "import torch\ndef f(p):\n    return torch.load(p)"),
        ("trainers/x.py", "import torch\ndef f(p):\n    torch.load(p, weights_only=False)"),
        ("trainers/x.py", "import torch\ndef f(p):\n    torch.save({}, p)"),
        ("app.py", "import argparse\nargs = argparse.ArgumentParser().parse_args()"),
        ("picogpt/x.py", "TEXT = open('x').read()"),
        ("picogpt/x.py", "with open('x') as file:\n    TEXT = file"),
        ("playground/x.py", "CSS = (HERE / 'x.css').read_text()"),
        ("playground/x.py", "class A:\n    css = HERE.read_text()"),
        ("playground/x.py", "CSS = [p.read_text() for p in FILES]"),
        ("picogpt/x.py", "if torch.cuda.is_available():\n    DEVICE = 'cuda'"),
        ("picogpt/x.py", "def f(device=torch.cuda.is_available()):\n    pass"),
        ("picogpt/x.py", "def f(*, device=choose_device('auto')):\n    pass"),
        ("playground/x.py", "with gr.Blocks() as demo:\n    pass"),
        ("playground/x.py", "@decorate(open('x'))\ndef f():\n    pass"),
        ("app.py", "build_app(None).launch()"),
        ("app.py", "if __name__ != '__main__':\n    print('hello')"),
        ("trainers/x.py", "try:\n    torch.manual_seed(0)\nfinally:\n    pass"),
    ],
)  # fmt: skip
def test_a_breach_is_found(path: str, source: str) -> None:
    assert breaches(source, path) != []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("playground/build.py", "import gradio as gr\nfrom trainers.run import TrainingRun"),
        ("app.py", "from playground.build import build_app\ndef main():\n    parser.parse_args()"),
        ("app.py", "if __name__ == '__main__':\n    build_app(None).launch()"),
        ("trainers/loop.py", "from picogpt import GPT\nfrom trainers.threading_notes import x"),
        ("trainers/run.py", "import threading"),
        ("picogpt/x.py", "import gradiometer\nfrom picogpt.trainers_of_old import x"),
        ("picogpt/model.py", "from picogpt.cache import KVCache\nfrom .sampling import choose"),
        ("picogpt/pico.py", "def f(p):\n    with open(p) as file:\n        return file.read()"),
        ("picogpt/x.py", "READERS = {'x': lambda p: open(p).read()}"),
        ("picogpt/hub.py", "def f(p):\n    return torch.load(p, weights_only=True)"),
        ("picogpt/__main__.py", "raise SystemExit(main())"),
        ("playground/tabs/train.py", "from playground.tabs.train_form import form"),
        ("playground/tabs/train.py", "from playground.components import curve"),
        ("playground/build.py", "from playground.tabs import chat, train"),
        ("tests/test_x.py", "TEXT = open('x').read()"),
    ],
)  # fmt: skip
def test_what_is_allowed_is_let_through(path: str, source: str) -> None:
    assert breaches(source, path) == []
