"""Reading a tokenizer.json, ours or a foreign GPT-2's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from picogpt.errors import TokenizerError
from picogpt.tokenizers.base import Tokenizer, require
from picogpt.tokenizers.bpe import BPETokenizer
from picogpt.tokenizers.char import CharTokenizer
from picogpt.tokenizers.saving import TOKENIZER_FILE

MAX_FILE_BYTES = 64 * 1024 * 1024  # GPT-2's, of 50,257 tokens, has 1.4 MB


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Reads the tokenizer of a checkpoint folder from its tokenizer.json.

    Raises:
        TokenizerError: The file is missing, is no JSON, or describes a tokenizer that is
            neither per character nor GPT-2's byte-level BPE; the file and the reason are named.
    """
    path = Path(folder) / TOKENIZER_FILE
    try:
        return tokenizer_from_json(_read_json(path))
    except TokenizerError as error:
        raise TokenizerError(f"{path}: {error}") from error


def tokenizer_from_json(obj: Any) -> Tokenizer:
    """Rebuilds either kind of tokenizer from the object of a tokenizer.json.

    Raises:
        TokenizerError: The object is malformed or describes some other tokenizer.
    """
    require(isinstance(obj, dict), "expected a JSON object.")
    model = obj.get("model")
    require(isinstance(model, dict), "the object has no 'model'.")
    # Older files (GPT-2's own among them) leave the type out; merges tell what they are.
    kind = model.get("type") or ("BPE" if "merges" in model else None)
    if kind == "BPE":
        return BPETokenizer.from_json(obj)
    if kind == "WordLevel":
        return CharTokenizer.from_json(obj)
    raise TokenizerError(f"model type {kind!r} is not supported, only 'BPE' and 'WordLevel'.")


def _read_json(path: Path) -> Any:
    try:
        size = path.stat().st_size
        require(size <= MAX_FILE_BYTES, f"{size} bytes is over the limit of {MAX_FILE_BYTES}.")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TokenizerError(f"cannot be read ({error.strerror or error}).") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, TokenizerError):
            raise
        raise TokenizerError(f"is no valid JSON ({error}).") from error
