"""Every error a person can cause, in one tree.

    Exception
    └── PicoGPTError                 one plain sentence: field, value, limit, what to do
        ├── ConfigError              a size or setting outside its range      (also ValueError)
        ├── SamplingError            temperature, top-k ... outside its range (also ValueError)
        ├── PromptError              a prompt the model cannot take           (also ValueError)
        ├── TokenizerError           text or ids a tokenizer cannot take      (also ValueError)
        ├── CheckpointError          a folder that is missing, damaged or not a checkpoint
        ├── CorpusError              a text that cannot be read or learned from (also ValueError)
        └── RunError                 a training run that cannot do what was asked

Our own bugs are `assert`s; they never take this form.
"""

from __future__ import annotations


class PicoGPTError(Exception):
    """Base of all errors whose cause and cure lie with the person at the keyboard."""


class ConfigError(PicoGPTError, ValueError):
    """A model or training size is outside its range, or two sizes do not fit each other."""


class SamplingError(PicoGPTError, ValueError):
    """A sampling setting is outside its range or not a number."""


class PromptError(PicoGPTError, ValueError):
    """A prompt is empty or otherwise not usable by this model."""


class TokenizerError(PicoGPTError, ValueError):
    """A tokenizer was given text, ids or a file that it cannot take."""


class CheckpointError(PicoGPTError):
    """A checkpoint folder is missing, damaged or of a kind we do not read."""


class CorpusError(PicoGPTError, ValueError):
    """A text is empty, binary, too large, wrongly encoded or too short to learn from."""


class RunError(PicoGPTError):
    """A training run cannot start, pause, resume or stop as asked."""
