"""From what stands in the page's controls to frozen configs, and back to words.

The only module that knows both. A control that was emptied takes its default; a value that is
no number, or outside its range, is refused in one sentence that names the control.
"""

from __future__ import annotations

import dataclasses
import math

from picogpt.config import GPTConfig
from picogpt.errors import ConfigError, SamplingError
from picogpt.sampling import SamplingConfig
from trainers.config import TrainConfig
from trainers.presets import preset

MAX_NEW_TOKENS = 1000
"""Most tokens of one reply or completion."""
TEMPERATURE_MAX = 2
MAX_TEXT = 20_000
"""Most characters of a message or prompt."""

DEFAULTS = {
    "temperature": 0.8, "top_k": 20, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0,
    "max_new_tokens": 100,
}  # fmt: skip
#: field -> (name on the page, lowest, highest, whole numbers only)
_RANGES = {
    "temperature": ("Temperature", 0, TEMPERATURE_MAX, False),
    "top_k": ("Top-k", 0, math.inf, True),
    "top_p": ("Top-p", 0.01, 1, False),
    "min_p": ("Min-p", 0, 1, False),
    "repetition_penalty": ("Repetition penalty", 1, 2, False),
    "max_new_tokens": ("Max tokens", 1, MAX_NEW_TOKENS, True),
    "seed": ("Seed", 0, 2**53 - 1, True),
}


def sampling_form(
    model: GPTConfig,
    temperature: object = None,
    top_k: object = None,
    top_p: object = None,
    min_p: object = None,
    repetition_penalty: object = None,
    max_new_tokens: object = None,
    seed: object = None,
) -> tuple[SamplingConfig, int]:
    """The sampling settings and the number of tokens that the controls ask for.

    Args:
        model: gives the largest top-k.
        temperature, top_k, top_p, min_p, repetition_penalty, max_new_tokens, seed: as they come;
            None takes the default (for the seed: new dice each time).

    Raises:
        SamplingError: a value outside its range; names control, range and value.
    """
    given = {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
        "repetition_penalty": repetition_penalty, "max_new_tokens": max_new_tokens,
    }  # fmt: skip
    values = {
        name: number(name, DEFAULTS[name] if value in (None, "") else value, model.vocab_size)
        for name, value in given.items()
    }
    values["seed"] = None if seed in (None, "", -1) else number("seed", seed)
    tokens = values.pop("max_new_tokens")
    return SamplingConfig(**values), tokens


def number(field: str, value: object, vocab_size: int = 0) -> float | int:
    """One checked number.

    Raises:
        SamplingError: not a number, or outside the control's range.
    """
    label, low, high, whole = _RANGES[field]
    if field == "top_k":
        high = max(vocab_size, DEFAULTS["top_k"])
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    if math.isnan(result) or (whole and result != int(result) if math.isfinite(result) else True):
        kind = "a whole number" if whole else "a number"
        raise SamplingError(f"{label} is {kind} from {low:g} to {high:,}; {_short(value)} is not.")
    if not low <= result <= high:
        few = "too few" if whole and result < low else "too small" if result < low else ""
        raise SamplingError(
            f"{label} is {low:g} to {high:,} here; {result:,.10g} is "
            f"{few or ('too many' if whole and field != 'seed' else 'too large')}."
        )
    return int(result) if whole else result


def text_form(text: object, what: str = "The text") -> str:
    """A text of bearable length; an emptied box holds "".

    Raises:
        SamplingError: it is no text, or has more than `MAX_TEXT` characters.
    """
    text = "" if text is None else text
    if not isinstance(text, str):
        raise SamplingError(f"{what} is a string; {_short(text)} is not. Send a string.")
    if len(text) > MAX_TEXT:
        raise SamplingError(
            f"{what} has {len(text):,} characters; at most {MAX_TEXT:,} are read. Shorten it."
        )
    return text


def whole_form(label: str, value: object) -> int:
    """A whole number of at least 0.

    Raises:
        SamplingError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SamplingError(f"{label} is a whole number of at least 0; {_short(value)} is not.")
    return value


def train_form(preset_name: str, corpus: str, **fields: object) -> TrainConfig:
    """The recipe that the Train tab asks for.

    Args:
        preset_name: where all values come from that are not given.
        corpus: name of a text.
        fields: values of controls; None leaves the preset's.

    Raises:
        ConfigError: a value of the wrong kind or outside its range, or sizes that do not fit.
    """
    base = preset(str(preset_name))
    changes: dict[str, object] = {"corpus": corpus}
    for name, value in fields.items():
        if value is None or value == "":
            continue
        wanted = type(getattr(base, name))
        changes[name] = _as(wanted, name, value)
    return dataclasses.replace(base, **changes)


def _as(wanted: type, name: str, value: object) -> object:
    if wanted is str:
        return str(value)
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    if math.isnan(result) or (wanted is int and (math.isinf(result) or result != int(result))):
        kind = "a whole number" if wanted is int else "a number"
        raise ConfigError(
            f"{name} is {kind}; {_short(value)} is not. Type one, or leave the preset's."
        )
    return wanted(result)


def _short(value: object) -> str:
    """A value as it stands in a sentence."""
    shown = repr(value)
    return shown if len(shown) <= 40 else shown[:37] + "..."


def settings_line(sampling: SamplingConfig) -> str:
    """The settings of a reply in a few words."""
    parts = [f"temperature {sampling.temperature:g}"]
    parts += [f"top-k {sampling.top_k}"] if sampling.top_k else []
    parts += [f"top-p {sampling.top_p:g}"] if sampling.top_p < 1 else []
    parts += [f"min-p {sampling.min_p:g}"] if sampling.min_p else []
    if sampling.repetition_penalty > 1:
        parts.append(f"repetition penalty {sampling.repetition_penalty:g}")
    return ", ".join(parts)
