"""Byte-level BPE as the `tokenizers` library's tokenizer.json, written and read.

In that file each byte of a token stands as one visible character (`pretokenize.BYTE_TO_CHAR`, from
GPT-2), so that a space is "Ġ". Special tokens stand under their plain names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from picogpt.errors import TokenizerError
from picogpt.tokenizers.base import adds_nothing, require
from picogpt.tokenizers.bpe_train import Pair
from picogpt.tokenizers.char import tokens_by_id
from picogpt.tokenizers.pretokenize import BYTE_TO_CHAR, CHAR_TO_BYTE

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
# Settings of the BPE model that would change the ids, and the values that leave them alone.
_PLAIN_SETTINGS: dict[str, tuple[Any, ...]] = {
    "dropout": (None, 0.0),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "byte_fallback": (None, False),
    "ignore_merges": (None, False),
}


def bpe_to_json(
    tokens: Sequence[bytes], merges: Sequence[Pair], special_tokens: Mapping[str, int]
) -> dict[str, Any]:
    """Gives the object of tokenizer.json for a tokenizer's parts."""
    names = [_to_visible(token) for token in tokens]
    for name, id in special_tokens.items():
        names[id] = name
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added_token(name, id) for name, id in special_tokens.items()],
        "normalizer": None,
        "pre_tokenizer": {**_BYTE_LEVEL, "use_regex": True},
        "post_processor": None,
        "decoder": {**_BYTE_LEVEL, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {name: id for id, name in enumerate(names)},
            # As one text each, which older versions of the library read too.
            "merges": [f"{names[left]} {names[right]}" for left, right in merges],
        },
    }


def bpe_from_json(obj: Any) -> tuple[list[bytes], list[Pair], dict[str, int]]:
    """Gives the parts (tokens, merges, special tokens) that a tokenizer.json describes.

    Raises:
        TokenizerError: The object is malformed, or describes a tokenizer that would give other
            ids than GPT-2's byte-level BPE.
    """
    require(isinstance(obj, dict), "expected a JSON object.")
    model = obj.get("model")
    require(isinstance(model, dict), "the object has no 'model'.")
    require(model.get("type", "BPE") == "BPE", "the model is not 'BPE'.")
    _check_pipeline(obj, model)
    vocab, merges = model.get("vocab"), model.get("merges")
    require(isinstance(vocab, dict), "'model.vocab' is not an object.")
    require(isinstance(merges, list), "'model.merges' is not a list.")
    special_tokens = _read_special_tokens(obj.get("added_tokens"))
    for name, id in special_tokens.items():
        require(vocab.get(name, id) == id, f"the special token {name!r} has two ids.")
    names = tokens_by_id({**vocab, **special_tokens})
    tokens = [_utf8(name) if name in special_tokens else _from_visible(name) for name in names]
    ordinary = {name: id for id, name in enumerate(names) if name not in special_tokens}
    return tokens, [_read_merge(merge, ordinary) for merge in merges], special_tokens


def _added_token(name: str, id: int) -> dict[str, Any]:
    """Gives the entry of `added_tokens` for one special token."""
    return {
        "id": id,
        "content": name,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }


def _check_pipeline(obj: dict[str, Any], model: dict[str, Any]) -> None:
    """Refuses any step before or after the merges that GPT-2 does not have."""
    require(obj.get("normalizer") is None, "a 'normalizer' is not supported.")
    pre = obj.get("pre_tokenizer")
    require(
        isinstance(pre, dict) and pre.get("type") == "ByteLevel" and pre.get("use_regex", True),
        "the pre-tokenizer is not GPT-2's 'ByteLevel'.",
    )
    require(pre.get("add_prefix_space") is False, "'add_prefix_space' must be false.")
    for field in ("decoder", "post_processor"):
        step = obj.get(field)
        require(
            (field == "post_processor" and adds_nothing(step))
            or (isinstance(step, dict) and step.get("type") == "ByteLevel"),
            f"the {field.replace('_', '-')} is not 'ByteLevel'.",
        )
    for setting, plain in _PLAIN_SETTINGS.items():
        value = model.get(setting)
        require(value in plain, f"'model.{setting}' is {value!r}, which is not supported.")


def _read_special_tokens(added: Any) -> dict[str, int]:
    """Gives name -> id of `added_tokens`, in the order of the ids."""
    require(added is None or isinstance(added, list), "'added_tokens' is not a list.")
    special: dict[str, int] = {}
    for entry in added or []:
        require(isinstance(entry, dict), f"the added token {entry!r} is not an object.")
        name, id = entry.get("content"), entry.get("id")
        require(
            isinstance(name, str) and name != "" and type(id) is int and name not in special,
            f"the added token {entry!r} has no name or id of its own.",
        )
        # The library would find such a token in typed text, where ours finds none.
        require(entry.get("special") is True, f"the added token {name!r} is not special.")
        special[name] = id
    return dict(sorted(special.items(), key=lambda item: item[1]))


def _read_merge(merge: Any, ids: Mapping[str, int]) -> Pair:
    """Reads one merge: "a b", or ["a", "b"] as newer files have it."""
    parts = merge.split(" ") if isinstance(merge, str) else merge
    require(
        isinstance(parts, list)
        and len(parts) == 2
        and all(isinstance(part, str) and part in ids for part in parts),
        f"the merge {merge!r} is not a pair of tokens of the vocabulary.",
    )
    return ids[parts[0]], ids[parts[1]]


def _to_visible(token: bytes) -> str:
    return "".join([BYTE_TO_CHAR[byte] for byte in token])


def _from_visible(name: str) -> bytes:
    try:
        return bytes([CHAR_TO_BYTE[char] for char in name])
    except KeyError:
        raise TokenizerError(f"the token {name!r} is not written as GPT-2's bytes.") from None


def _utf8(name: str) -> bytes:
    try:
        return name.encode("utf-8")
    except UnicodeEncodeError:
        raise TokenizerError(f"the special token {name!r} is not valid text.") from None
