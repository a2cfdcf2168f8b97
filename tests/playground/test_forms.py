"""What stands in the controls becomes checked configs, or one sentence that says what is wrong."""

from __future__ import annotations

import math

import pytest

from picogpt import GPTConfig, SamplingConfig
from picogpt.errors import ConfigError, SamplingError
from playground.forms import (
    DEFAULTS,
    MAX_TEXT,
    sampling_form,
    settings_line,
    text_form,
    train_form,
    whole_form,
)
from trainers.presets import PRESETS

MODEL = GPTConfig(n_layer=1, n_head=1, n_embd=8, block_size=8, vocab_size=8000)

#: control -> its label, its range in words, values outside it, values inside it
CONTROLS = {
    "temperature": ("Temperature", "0 to 2", (-0.1, 2.01, 1e9), (0, 2, "0.5")),
    "top_k": ("Top-k", "0 to 8,000", (-1, 8001, 10**9), (0, 8000, 20.0, "7")),
    "top_p": ("Top-p", "0.01 to 1", (0, -1, 1.01), (0.01, 1)),
    "min_p": ("Min-p", "0 to 1", (-0.01, 1.5), (0, 1)),
    "repetition_penalty": ("Repetition penalty", "1 to 2", (0.9, 2.1), (1, 2)),
    "max_new_tokens": ("Max tokens", "1 to 1,000", (0, 1001), (1, 1000)),
    "seed": ("Seed", "0 to 9,007,199,254,740,991", (-2, 2**53, 1e300), (0, 2**53 - 1, "12")),
}
NO_NUMBERS = ["abc", "1,5", math.nan, math.inf, -math.inf, [1], {"a": 1}, 10**400, "x" * 10_000]
WHOLE = ("top_k", "max_new_tokens", "seed")


def one_sentence(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 200
    assert text.endswith(".")
    return text


@pytest.mark.parametrize("field", CONTROLS)
@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:12])
def test_what_is_no_number_is_refused_with_control_and_range(field, value):
    label, span, _, _ = CONTROLS[field]
    with pytest.raises(SamplingError) as error:
        sampling_form(MODEL, **{field: value})
    text = one_sentence(error)
    assert text.startswith(label)
    assert span in text.replace("from ", "")
    assert repr(value)[:30] in text


@pytest.mark.parametrize("field", WHOLE)
def test_a_fraction_is_no_whole_number(field):
    with pytest.raises(SamplingError, match=r"a whole number .*2\.5 is not"):
        sampling_form(MODEL, **{field: 2.5})


@pytest.mark.parametrize(
    ("field", "value"), [(f, v) for f, control in CONTROLS.items() for v in control[2]]
)
def test_outside_its_range_a_value_is_refused_with_control_range_and_value(field, value):
    label, span, _, _ = CONTROLS[field]
    with pytest.raises(SamplingError) as error:
        sampling_form(MODEL, **{field: value})
    text = one_sentence(error)
    assert text.startswith(f"{label} is {span} here; {value:,.10g} is too ")


@pytest.mark.parametrize(
    ("field", "value"), [(f, v) for f, control in CONTROLS.items() for v in control[3]]
)
def test_the_edges_of_a_range_belong_to_it(field, value):
    sampling, tokens = sampling_form(MODEL, **{field: value})
    got = tokens if field == "max_new_tokens" else getattr(sampling, field)
    assert got == float(value)
    assert isinstance(got, int) or field not in WHOLE


@pytest.mark.parametrize("empty", [None, ""])
def test_an_emptied_control_takes_its_default(empty):
    sampling, tokens = sampling_form(MODEL, *[empty] * 7)
    assert tokens == DEFAULTS["max_new_tokens"] == 100
    assert sampling == SamplingConfig(temperature=0.8, top_k=20, seed=None)


def test_too_many_is_said_as_the_style_guide_has_it():
    with pytest.raises(SamplingError) as error:
        sampling_form(MODEL, top_k=9000)
    assert str(error.value) == "Top-k is 0 to 8,000 here; 9,000 is too many."


def test_the_default_top_k_suits_a_vocabulary_that_is_smaller_still():
    tiny = GPTConfig(n_layer=1, n_head=1, n_embd=8, block_size=8, vocab_size=5)
    assert sampling_form(tiny)[0].top_k == 20
    with pytest.raises(SamplingError, match="0 to 20 here"):
        sampling_form(tiny, top_k=21)


def test_a_text_is_limited_and_an_emptied_one_is_empty():
    assert text_form("é" * MAX_TEXT) == "é" * MAX_TEXT
    assert text_form(None) == ""
    with pytest.raises(SamplingError, match=r"The message has 20,001 characters; at most 20,000"):
        text_form("x" * (MAX_TEXT + 1), "The message")
    for value in (5, ["a"], {"text": "a"}):
        with pytest.raises(SamplingError, match="is a string"):
            text_form(value)


def test_whole_numbers_of_the_api():
    assert whole_form("n", 0) == 0
    for value in ("abc", -1, 1.5, None, True, [1]):
        with pytest.raises(SamplingError, match="n is a whole number of at least 0"):
            whole_form("n", value)


# --- training ---------------------------------------------------------------------------------


def test_without_values_the_recipe_is_the_presets():
    for name in PRESETS:
        config = train_form(name, "stories", steps=None, out="", seed=None)
        assert config.steps == PRESETS[name].config.steps
        assert (config.preset, config.corpus) == (name, "stories")


def test_numbers_arrive_in_the_fields_own_type():
    config = train_form("small", "stories", steps=20.0, muon_lr="0.01", tokenizer="bpe", out="me")
    assert (config.steps, config.muon_lr, config.tokenizer, config.out) == (20, 0.01, "bpe", "me")
    assert isinstance(config.steps, int)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:12])
def test_a_knob_that_is_no_number_is_named(value):
    with pytest.raises(ConfigError) as error:
        train_form("small", "stories", n_layer=value)
    assert one_sentence(error).startswith("n_layer is a whole number")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"steps": 0}, "steps is a whole number from 1 to"),
        ({"n_embd": 100, "n_head": 3}, "n_embd"),
        ({"dropout": math.inf}, "dropout is a number from 0 to 0.9"),
        ({"tokenizer": "words"}, "tokenizer is one of char, bpe"),
        ({"vocab_size": 100}, "vocab_size is a whole number from 260"),
    ],
)
def test_sizes_outside_their_range_or_that_do_not_divide_are_refused(fields, words):
    with pytest.raises(ConfigError, match=words):
        train_form("small", "stories", **fields)


@pytest.mark.parametrize("name", ["huge", None, ["small"], 5])
def test_an_unknown_preset_names_those_there_are(name):
    with pytest.raises(ConfigError, match="Choose one of: small, basic, fast"):
        train_form(name, "stories")


def test_the_settings_in_words_name_only_what_is_on():
    assert settings_line(SamplingConfig()) == "temperature 0.8, top-k 20"
    full = SamplingConfig(0, 0, 0.9, 0.05, 1.2)
    assert settings_line(full) == "temperature 0, top-p 0.9, min-p 0.05, repetition penalty 1.2"
