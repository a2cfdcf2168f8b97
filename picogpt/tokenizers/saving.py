"""Writing a tokenizer into a checkpoint folder, where Hugging Face's libraries find it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from picogpt.files import to_json, write_file

if TYPE_CHECKING:
    from picogpt.tokenizers.base import Tokenizer

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"

USER, ASSISTANT, END, END_OF_TEXT = CHAT_SPECIAL_TOKENS = (
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
    "<|endoftext|>",
)

# Jinja, as `apply_chat_template` of transformers (and so vLLM) runs it. No token stands before
# the first turn, no white space between turns.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] not in ['user', 'assistant'] -%}"
    "{{- raise_exception('This model knows the roles user and assistant only.') -}}"
    "{%- endif -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def tokenizer_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """Gives the object of tokenizer_config.json, with a chat template if there are role tokens.

    `eos_token` is what ends a reply, or else a document; `pad_token` is what a batch is filled
    up with. There is no beginning-of-text token.
    """
    special = tokenizer.special_tokens
    config: dict[str, Any] = {
        # With any other class AutoTokenizer silently drops characters.
        "tokenizer_class": "PreTrainedTokenizerFast",
        # Otherwise decoding deletes the space in front of punctuation.
        "clean_up_tokenization_spaces": False,
    }
    ends = [token for token in (END, END_OF_TEXT) if token in special]
    if ends:
        config["eos_token"] = ends[0]
        config["pad_token"] = ends[-1]
    if all(token in special for token in (USER, ASSISTANT, END)):
        config["chat_template"] = CHAT_TEMPLATE
    return config


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json, the same bytes for equal tokenizers."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / TOKENIZER_FILE, to_json(tokenizer.to_json()))
    write_file(folder / CONFIG_FILE, to_json(tokenizer_config(tokenizer)))
