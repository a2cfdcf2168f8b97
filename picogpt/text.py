"""Between an engine's ids and a reader's text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from picogpt.engine import Step
from picogpt.tokenizers import Tokenizer


def with_text(steps: Iterator[Step], tokenizer: Tokenizer) -> Iterator[Step]:
    """Fill in `Step.text`: what became certain with each token, half characters held back.

    The texts joined are the decoded whole. A step that leaves half a character open waits for
    the next one, so that a stream which ends there can show the rest with its last step.
    """
    decoder = tokenizer.stream_decoder()
    held: Step | None = None
    for step in steps:
        if held is not None:
            yield held
            held = None
        step = dataclasses.replace(step, text=decoder.push(step.id))
        if decoder.pending:
            held = step
        else:
            yield step
    if held is not None:
        yield dataclasses.replace(held, text=held.text + decoder.flush())
