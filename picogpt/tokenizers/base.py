"""What every tokenizer can do, and the decoder that streams text out token by token.

A tokenizer is a fixed list of byte strings; a token's id is its place in that list. Decoding is
therefore the same for every kind (join the bytes, read them as UTF-8) and lives here. Encoding is
what the kinds differ in. A text may come in pieces (`Iterable[str]`), so that one larger than
memory can be learned from and encoded.
"""

from __future__ import annotations

import codecs
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from picogpt.errors import TokenizerError
from picogpt.tokenizers.saving import write_tokenizer


class Tokenizer(ABC):
    """Turns text into token ids (0 to `vocab_size - 1`) and back.

    Attributes:
        kind: "char" or "bpe".
        special_tokens: Text of each special token -> its id; empty for a character tokenizer.
            These ids mark turns and ends. `encode` never gives one: whoever wants one looks
            it up here.
    """

    kind: ClassVar[str]
    special_tokens: dict[str, int]

    def __init__(self, tokens: Sequence[bytes], special_tokens: Mapping[str, int]) -> None:
        """Keeps the bytes of every id, special tokens included, in the order of the ids."""
        self._tokens = list(tokens)
        self.special_tokens = dict(special_tokens)
        self._special_ids = frozenset(special_tokens.values())

    @abstractmethod
    def encode_pieces(self, pieces: Iterable[str]) -> Iterator[list[int]]:
        """Gives the ids of one text that comes in pieces, some at a time.

        All of them in a row are what `encode` gives for the whole text; memory in use does not
        grow with its length.

        Args:
            pieces: Parts of the text, of any length; none begins inside a surrogate pair.

        Raises:
            TokenizerError: The tokenizer has no token for some of the text (character kind only).
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Gives the object that the `tokenizers` library stores as tokenizer.json."""

    @classmethod
    @abstractmethod
    def from_json(cls, obj: Any) -> Tokenizer:
        """Rebuilds a tokenizer from the object of a tokenizer.json.

        Raises:
            TokenizerError: The object is malformed, or describes some other tokenizer.
        """

    def encode(self, text: str) -> list[int]:
        """Gives the ids of `text`; text that looks like a special token is just characters.

        Half of a surrogate pair (which is not text) is read as U+FFFD.

        Raises:
            TokenizerError: The tokenizer has no token for some of the text (character kind only).
        """
        return list(chain.from_iterable(self.encode_pieces([text])))

    @property
    def vocab_size(self) -> int:
        """How many ids there are, special tokens included."""
        return len(self._tokens)

    def decode(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        """Gives the text of `ids`; bytes that are no valid UTF-8 become U+FFFD.

        Args:
            ids: Token ids, each 0 to `vocab_size - 1`.
            skip_special: Leave special tokens out, instead of writing their names.

        Raises:
            TokenizerError: An id is not in the vocabulary.
        """
        known = [self._known_id(id) for id in ids]
        if skip_special:
            known = [id for id in known if id not in self._special_ids]
        return b"".join([self._tokens[id] for id in known]).decode("utf-8", errors="replace")

    def token_bytes(self, id: int) -> bytes:
        """Gives the bytes one token stands for (for a special token, those of its name).

        Raises:
            TokenizerError: The id is not in the vocabulary.
        """
        return self._tokens[self._known_id(id)]

    def token_text(self, id: int) -> str:
        """Gives one token as text to show: a piece of a character appears as U+FFFD.

        Raises:
            TokenizerError: The id is not in the vocabulary.
        """
        return self.token_bytes(id).decode("utf-8", errors="replace")

    def byte_lengths(self) -> list[int]:
        """Gives the bytes of text (UTF-8) behind each id: 0 for special tokens, which are no text.

        A loss per token, summed and divided by the bytes of its targets, compares models across
        tokenizers (bits per byte).
        """
        return [
            0 if id in self._special_ids else len(token) for id, token in enumerate(self._tokens)
        ]

    def stream_decoder(self) -> StreamDecoder:
        """Gives a fresh decoder for one stream of tokens."""
        return StreamDecoder(self)

    def save(self, folder: str | Path) -> None:
        """Writes tokenizer.json and tokenizer_config.json into `folder`, made if need be."""
        write_tokenizer(self, Path(folder))

    def _known_id(self, id: int) -> int:
        """Gives `id` as an int (NumPy and torch integers pass), or refuses it."""
        try:
            known = operator.index(id)
        except TypeError:
            raise TokenizerError(f"A token id is a whole number, not {id!r}.") from None
        if not 0 <= known < len(self._tokens):
            raise TokenizerError(
                f"Token id {known} is not in the vocabulary, which runs from 0 to "
                f"{len(self._tokens) - 1}. Was it made by another tokenizer?"
            )
        return known

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(vocab_size={self.vocab_size}, "
            f"special_tokens={list(self.special_tokens)})"
        )


class StreamDecoder:
    """Decodes a stream one token at a time, holding back a character until it is whole.

    All that `push` and `flush` return, joined, equals `decode(ids, skip_special=True)`.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._special_ids = frozenset(tokenizer.special_tokens.values())
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, id: int) -> str:
        """Takes the next token and gives the text that is now safe to show, perhaps none.

        Raises:
            TokenizerError: The id is not in the vocabulary.
        """
        data = self._tokenizer.token_bytes(id)
        return "" if operator.index(id) in self._special_ids else self._utf8.decode(data)

    @property
    def pending(self) -> bool:
        """Whether part of a character is held back."""
        return bool(self._utf8.getstate()[0])

    def flush(self) -> str:
        """Ends the stream: gives U+FFFD for a character that was never completed, else nothing."""
        return self._utf8.decode(b"", final=True)


def well_formed(text: str) -> str:
    """Gives `text` without lone surrogates, which UTF-8 cannot hold.

    A surrogate pair written as two characters (as some JSON has it) becomes its one character,
    half of one becomes U+FFFD.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def adds_nothing(post_processor: Any) -> bool:
    """Whether a tokenizer.json's post-processor leaves ids as they are.

    Saving with transformers puts a template there that holds the text and nothing else.
    """
    if post_processor is None:
        return True
    if not isinstance(post_processor, dict) or post_processor.get("type") != "TemplateProcessing":
        return False
    return post_processor.get("single") == [{"Sequence": {"id": "A", "type_id": 0}}]


def require(condition: bool, reason: str) -> None:
    """Refuses a tokenizer with `reason` unless `condition` holds.

    Raises:
        TokenizerError: The condition does not hold.
    """
    if not condition:
        raise TokenizerError(reason)
