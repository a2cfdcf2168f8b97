"""`Pico`: a loaded checkpoint behind four verbs (complete, stream, chat, look inside)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from picogpt.chat import END_OF_TEXT, ChatSession
from picogpt.checkpoint import Checkpoint, load_checkpoint
from picogpt.engine import Engine, Step
from picogpt.errors import CheckpointError, PromptError
from picogpt.sampling import SamplingConfig
from picogpt.text import with_text

CHECKPOINTS = Path("checkpoints")


class Pico:
    """A model, its tokenizer and an engine, ready for text.

    Args:
        checkpoint: as loaded by `load_checkpoint`.
        weights: how weights are held while decoding (see `Engine`).

    Raises:
        ConfigError: `weights` is unknown.
    """

    def __init__(self, checkpoint: Checkpoint, weights: str = "auto") -> None:
        self.checkpoint = checkpoint
        self.tokenizer = checkpoint.tokenizer
        self.engine = Engine(checkpoint.model, weights=weights)

    @property
    def name(self) -> str:
        """Name of the checkpoint folder."""
        return self.checkpoint.name

    def encode_prompt(self, prompt: str) -> list[int]:
        """Ids of a prompt; an empty one starts a new text where the tokenizer has a mark for it.

        Raises:
            PromptError: the prompt is empty and the tokenizer has no such mark.
            TokenizerError: the prompt holds characters the tokenizer has never seen.
        """
        ids = self.tokenizer.encode(prompt)
        if ids:
            return ids
        if END_OF_TEXT in self.tokenizer.special_tokens:
            return [self.tokenizer.special_tokens[END_OF_TEXT]]
        raise PromptError("The prompt is empty. Type at least one character for the model.")

    def stream(
        self,
        prompt: str,
        max_new_tokens: int = 100,
        temperature: float = 0.8,
        top_k: int = 20,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        stop: threading.Event | None = None,
        attention: bool = False,
    ) -> Iterator[Step]:
        """Continue a text, one `Step` with its `text` a token.

        Args:
            prompt: of one that is too long for the context the newest part is read.
            max_new_tokens: most tokens to add.
            temperature, top_k, top_p, min_p, repetition_penalty, seed: see `SamplingConfig`.
            stop: set it from any thread to end the stream within one token.
            attention: have each step carry its attention rows.

        Raises:
            PromptError, SamplingError, TokenizerError: a value outside its range.
        """
        sampling = SamplingConfig(temperature, top_k, top_p, min_p, repetition_penalty, seed)
        ends = [
            self.tokenizer.special_tokens[name]
            for name in (END_OF_TEXT,)
            if name in self.tokenizer.special_tokens
        ]
        steps = self.engine.stream(
            self.encode_prompt(prompt), sampling, max_new_tokens, ends, stop, attention=attention
        )
        return with_text(steps, self.tokenizer)

    def complete(
        self,
        prompt: str,
        max_new_tokens: int = 100,
        temperature: float = 0.8,
        top_k: int = 20,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
    ) -> str:
        """The text that follows `prompt` (the prompt itself is not repeated). See `stream`."""
        steps = self.stream(
            prompt, max_new_tokens, temperature, top_k, top_p, min_p, repetition_penalty, seed
        )
        return "".join(step.text for step in steps)

    def chat(
        self,
        temperature: float = 0.8,
        top_k: int = 20,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        max_new_tokens: int = 100,
    ) -> ChatSession:
        """Start a conversation that keeps its context.

        Raises:
            SamplingError: a setting outside its range.
            ConfigError: the model was not made for conversations.
        """
        sampling = SamplingConfig(temperature, top_k, top_p, min_p, repetition_penalty, seed)
        return ChatSession(self.engine, self.tokenizer, sampling, max_new_tokens)

    def next_logits(self, text: str) -> Tensor:
        """Logits of the token after `text`: (V,) float32 on the CPU."""
        return self.engine.next_logits(self.encode_prompt(text))

    def attention(self, text: str) -> Tensor:
        """Attention weights over `text`: (L, H, T, T) float32 on the CPU."""
        return self.engine.attention(self.encode_prompt(text))


def find_checkpoint(name: str | Path, checkpoints: str | Path = CHECKPOINTS) -> Path:
    """The folder of a checkpoint: a path is taken as a path, a name looked up in `checkpoints`.

    Raises:
        CheckpointError: there is none; names those that exist.
    """
    checkpoints = Path(checkpoints)
    is_path = isinstance(name, Path) or name in (".", "..") or "/" in name or "\\" in name
    folder = Path(name) if is_path else checkpoints / name
    if name and os.path.isdir(folder):  # False, too, for a name no file system takes
        return folder
    there = list_checkpoints(checkpoints)
    raise CheckpointError(
        f"There is no checkpoint {str(name)!r}. "
        + (f"There are: {', '.join(there)}." if there else f"{checkpoints}/ holds none yet.")
    )


def list_checkpoints(checkpoints: str | Path = CHECKPOINTS) -> list[str]:
    """Names of the folders under `checkpoints` that hold a model, in order."""
    folder = Path(checkpoints)
    if not folder.is_dir():
        return []
    return sorted(
        path.name
        for path in folder.iterdir()
        if (path / "config.json").is_file() and not path.name.startswith(".")  # half written
    )


def load(
    name: str | Path,
    device: str = "auto",
    weights: str = "auto",
    checkpoints: str | Path = CHECKPOINTS,
) -> Pico:
    """Load a checkpoint by name or path.

    Args:
        name: a folder under `checkpoints`, or any path.
        device: `auto`, `cpu`, `cuda` or `mps`.
        weights: see `Engine`.
        checkpoints: where names are looked up.

    Raises:
        CheckpointError: missing or damaged.
        ConfigError: no such device or kind of weights.
    """
    return Pico(load_checkpoint(find_checkpoint(name, checkpoints), device), weights)
