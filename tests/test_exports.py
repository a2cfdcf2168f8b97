"""The public names of `picogpt`: all there, and no others."""

from __future__ import annotations

from types import ModuleType

import picogpt
from picogpt import errors

PROMISED = {
    "load", "GPT", "GPTConfig", "Engine", "SamplingConfig", "ChatSession", "CharTokenizer",
    "BPETokenizer", "load_checkpoint", "save_checkpoint", "PicoGPTError",
}  # fmt: skip


def test_every_promised_name_is_public() -> None:
    assert set(picogpt.__all__) >= PROMISED


def test_all_is_exact() -> None:
    defined = {
        name
        for name, value in vars(picogpt).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert sorted(picogpt.__all__) == sorted(defined)
    assert len(picogpt.__all__) == len(set(picogpt.__all__))


def test_every_public_thing_says_what_it_is() -> None:
    assert [name for name in picogpt.__all__ if not getattr(picogpt, name).__doc__] == []


def test_one_except_clause_catches_every_error_of_ours_and_the_drawing_shows_them() -> None:
    ours = [x for x in vars(errors).values() if isinstance(x, type) and issubclass(x, Exception)]
    assert len(ours) > 5
    for error in ours:
        assert issubclass(error, picogpt.PicoGPTError)
        line = next(line for line in errors.__doc__.splitlines() if f" {error.__name__} " in line)
        assert ("ValueError" in line) == issubclass(error, ValueError)
