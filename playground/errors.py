"""How a person's mistake reaches the page or the API: as its one sentence, without a traceback."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import gradio as gr

from picogpt.errors import PicoGPTError

P = ParamSpec("P")
T = TypeVar("T")


def error_note(error: PicoGPTError) -> dict:
    """The payload of a `note` that shows the error beside its cause."""
    return {"text": str(error), "kind": "error"}


def info_note(text: str) -> dict:
    """The payload of a `note` with something worth knowing; empty text clears it."""
    return {"text": text, "kind": "info"}


def for_api(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function's `PicoGPTError` an error of the API, with nothing in the server's log."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except PicoGPTError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return wrapped
