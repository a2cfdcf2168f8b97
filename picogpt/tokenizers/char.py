"""The simplest tokenizer: every character is a token.

The alphabet is whatever the training text contains, so the vocabulary is tiny (65 for Tiny
Shakespeare) and sequences are long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, ClassVar

from picogpt.errors import TokenizerError
from picogpt.tokenizers.base import Tokenizer, adds_nothing, require, well_formed

MAX_NAMED = 8  # unseen characters that an error message names one by one

# How the `tokenizers` library cuts text into single characters, newlines included ...
_SPLIT = {
    "type": "Split",
    "pattern": {"Regex": "[\\s\\S]"},
    "behavior": "Isolated",
    "invert": False,
}
# ... and joins them again without spaces.
_FUSE = {"type": "Fuse"}


class CharTokenizer(Tokenizer):
    """One id per character, numbered in the order of their code points. No special tokens."""

    kind: ClassVar[str] = "char"

    def __init__(self, alphabet: Sequence[str]) -> None:
        """Makes the tokenizer whose id `i` is the character `alphabet[i]`.

        Raises:
            TokenizerError: The alphabet is empty, repeats itself, or holds more than characters.
        """
        require(len(alphabet) > 0, "The alphabet is empty: give some text.")
        require(len(set(alphabet)) == len(alphabet), "The alphabet holds a character twice.")
        for char in alphabet:
            require(
                isinstance(char, str) and len(char) == 1 and char == well_formed(char),
                f"{char!r} in the alphabet is not one character.",
            )
        super().__init__([char.encode("utf-8") for char in alphabet], {})
        self._ids = {char: id for id, char in enumerate(alphabet)}

    @classmethod
    def train(cls, text: str | Iterable[str], *, also: str = "") -> CharTokenizer:
        """Collects the characters of `text`, sorted by code point.

        Args:
            text: The training text, whole or in pieces.
            also: Further characters to know, such as all printable ASCII and the newline.

        Raises:
            TokenizerError: There is not a single character.
        """
        alphabet = set(well_formed(also))
        for piece in [text] if isinstance(text, str) else text:
            alphabet.update(well_formed(piece))
        return cls(sorted(alphabet))

    def encode_pieces(self, pieces: Iterable[str]) -> Iterator[list[int]]:
        """Gives one id per character, piece by piece; half of a surrogate pair is read as U+FFFD.

        Raises:
            TokenizerError: Characters that are not in the alphabet; the message names them.
        """
        known = self._ids
        pieces = map(well_formed, pieces)
        for piece in pieces:
            try:
                ids = [known[char] for char in piece]
            except KeyError:
                raise TokenizerError(self._unseen_message(chain([piece], pieces))) from None
            yield ids

    def _unseen_message(self, pieces: Iterable[str]) -> str:
        """Names the characters of a text that the alphabet lacks, in the order they appear."""
        chars = dict.fromkeys(chain.from_iterable(pieces))
        unseen = [char for char in chars if char not in self._ids]
        named = ", ".join(f"{char!r} (U+{ord(char):04X})" for char in unseen[:MAX_NAMED])
        more = f" and {len(unseen) - MAX_NAMED} more" if len(unseen) > MAX_NAMED else ""
        noun = "a character" if len(unseen) == 1 else f"{len(unseen)} characters"
        return (
            f"The text has {noun} that this model has never seen: {named}{more}. "
            f"It knows {self.vocab_size} characters; leave the others out, "
            "or train on text that contains them."
        )

    def to_json(self) -> dict[str, Any]:
        """Gives tokenizer.json: a WordLevel model whose words are single characters."""
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
            "normalizer": None,
            "pre_tokenizer": dict(_SPLIT),
            "post_processor": None,
            "decoder": dict(_FUSE),
            # The format asks for a name of the unknown token. None has this one, so that the
            # library too stops at an unseen character instead of dropping it.
            "model": {"type": "WordLevel", "vocab": dict(self._ids), "unk_token": ""},
        }

    @classmethod
    def from_json(cls, obj: Any) -> CharTokenizer:
        """Rebuilds a character tokenizer from what `to_json` gave.

        Raises:
            TokenizerError: The object is malformed, or cuts text in any other way.
        """
        require(isinstance(obj, dict), "expected a JSON object.")
        model = obj.get("model")
        require(
            isinstance(model, dict) and model.get("type") == "WordLevel",
            "the model is not 'WordLevel'.",
        )
        for field, value in (
            ("pre_tokenizer", _SPLIT),
            ("decoder", _FUSE),
            ("normalizer", None),
        ):
            require(obj.get(field) == value, f"{field!r} is not that of a character tokenizer.")
        require(adds_nothing(obj.get("post_processor")), "'post_processor' adds tokens.")
        require(not obj.get("added_tokens"), "a character tokenizer has no added tokens.")
        vocab = model.get("vocab")
        require(isinstance(vocab, dict), "'model.vocab' is not an object.")
        return cls(tokens_by_id(vocab))


def tokens_by_id(vocab: dict[str, Any]) -> list[str]:
    """Turns token -> id into the list of tokens, checking that the ids are 0, 1, 2, ...

    Raises:
        TokenizerError: An id is no whole number, is missing or is used twice.
    """
    tokens: list[str | None] = [None] * len(vocab)
    for token, id in vocab.items():
        require(
            type(id) is int and 0 <= id < len(vocab) and tokens[id] is None,
            f"token {token!r} has the id {id!r}, but {len(vocab)} tokens must have the ids "
            f"0 to {len(vocab) - 1}, each once.",
        )
        tokens[id] = token
    return tokens  # type: ignore[return-value]  # every place is filled: as many ids as places
