"""Text to token ids and back: one id per character, or byte-level BPE.

Where to read what: `base.py` says what every tokenizer can do, `char.py` and `bpe.py` are the
two kinds; `pretokenize.py` cuts text into words, `bpe_train.py` learns the merges. A tokenizer
is stored as the `tokenizers` library's `tokenizer.json` (`bpe_format.py`, `saving.py`,
`loading.py`), so that other programs read it too.
"""

from picogpt.tokenizers.base import StreamDecoder, Tokenizer
from picogpt.tokenizers.bpe import BPETokenizer
from picogpt.tokenizers.char import CharTokenizer
from picogpt.tokenizers.loading import load_tokenizer, tokenizer_from_json

__all__ = [
    "BPETokenizer",
    "CharTokenizer",
    "StreamDecoder",
    "Tokenizer",
    "load_tokenizer",
    "tokenizer_from_json",
]
