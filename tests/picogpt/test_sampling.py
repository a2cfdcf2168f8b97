"""Each sampling stage worked by hand on vocabularies of a few tokens."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import RepetitionPenaltyLogitsProcessor

from picogpt import SamplingConfig
from picogpt.errors import SamplingError
from picogpt.sampling import (
    REMOVED,
    Dice,
    apply_temperature,
    choose,
    filtered,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    new_dice,
    penalise_repetition,
    pick,
    probabilities,
)

ALL = {"temperature": 1.0, "top_k": 0}

rows = st.lists(st.floats(-40, 40, width=32), min_size=1, max_size=12)
configs = st.builds(
    SamplingConfig,
    temperature=st.one_of(st.just(0.0), st.floats(0, 10)),
    top_k=st.integers(0, 15),
    top_p=st.floats(0, 1, exclude_min=True),
    min_p=st.floats(0, 1),
    repetition_penalty=st.floats(1, 10),
)


def log(*probs: float) -> Tensor:
    """Logits whose softmax is `probs`."""
    return torch.tensor([math.log(p) if p else REMOVED for p in probs])


def kept(logits: Tensor) -> list[int]:
    """Ids that a stage has not removed."""
    return [i for i, x in enumerate(logits.tolist()) if x != REMOVED]


# --- temperature ------------------------------------------------------------------------------


def test_temperature_1_leaves_probabilities_alone() -> None:
    probs = probabilities(apply_temperature(log(0.5, 0.3, 0.2), 1.0))
    assert probs.tolist() == pytest.approx([0.5, 0.3, 0.2])


def test_temperature_one_half_squares_probabilities_and_2_takes_their_root() -> None:
    cold = probabilities(apply_temperature(log(0.75, 0.25), 0.5))
    assert cold.tolist() == pytest.approx([9 / 10, 1 / 10])
    warm = probabilities(apply_temperature(log(0.8, 0.2), 2.0))
    assert warm.tolist() == pytest.approx([2 / 3, 1 / 3])


def test_temperature_0_leaves_the_likeliest_token_the_lowest_id_of_equals() -> None:
    assert kept(apply_temperature(torch.tensor([1.0, 3.0, 3.0, 2.0]), 0)) == [1]


@pytest.mark.parametrize("temperature", [1e-6, 1e-45, 1e-60, sys.float_info.min, 5e-324])
def test_a_tiny_temperature_shares_between_the_likeliest_without_nan(temperature: float) -> None:
    probs = probabilities(apply_temperature(torch.tensor([-1e4, 2.0, 2.0, 1.0]), temperature))
    assert probs.tolist() == [0, 0.5, 0.5, 0]


# --- top-k ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("top_k", "expected"), [(1, [1]), (2, [1, 3]), (3, [0, 1, 3]), (4, [0, 1, 2, 3])]
)
def test_top_k_keeps_the_k_largest(top_k: int, expected: list[int]) -> None:
    assert kept(keep_top_k(torch.tensor([0.0, 4.0, -2.0, 3.0]), top_k)) == expected


@pytest.mark.parametrize("top_k", [0, 5, 1_000_000])
def test_top_k_of_0_or_beyond_the_vocabulary_keeps_all(top_k: int) -> None:
    logits = torch.tensor([0.0, 4.0, -2.0, 3.0])
    assert torch.equal(keep_top_k(logits, top_k), logits)


@pytest.mark.parametrize(("top_k", "expected"), [(1, [1]), (2, [0, 1]), (3, [0, 1, 2])])
def test_top_k_keeps_exactly_k_of_equals_those_with_lower_ids(
    top_k: int, expected: list[int]
) -> None:
    assert kept(keep_top_k(torch.tensor([2.0, 5.0, 2.0, 2.0]), top_k)) == expected


def test_top_k_after_temperature_0_still_keeps_one() -> None:
    assert kept(keep_top_k(apply_temperature(torch.tensor([1.0, 2.0, 3.0]), 0), 2)) == [2]


# --- top-p ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [(1e-9, [1]), (0.49, [1]), (0.51, [1, 2]), (0.74, [1, 2]), (0.76, [0, 1, 2]),
     (0.89, [0, 1, 2]), (0.91, [0, 1, 2, 3]), (1.0, [0, 1, 2, 3])],
)  # fmt: skip
def test_top_p_keeps_the_fewest_likeliest_that_reach_it(top_p: float, expected: list[int]) -> None:
    assert kept(keep_top_p(log(0.15, 0.5, 0.25, 0.1), top_p)) == expected


def test_top_p_that_is_reached_exactly_needs_no_further_token() -> None:
    assert kept(keep_top_p(torch.zeros(4), 0.5)) == [0, 1]
    assert kept(keep_top_p(torch.zeros(4), 0.25)) == [0]


def test_top_p_keeps_lower_ids_of_equals() -> None:
    assert kept(keep_top_p(log(0.2, 0.4, 0.2, 0.2), 0.7)) == [0, 1, 2]


# --- min-p ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("min_p", "expected"),
    [(0.0, [0, 1, 2]), (0.19, [0, 1, 2]), (0.21, [0, 1]), (0.59, [0, 1]), (0.61, [1]), (1.0, [1])],
)
def test_min_p_removes_what_is_below_its_share_of_the_likeliest(
    min_p: float, expected: list[int]
) -> None:
    logits = torch.log(torch.tensor([0.3, 0.5, 0.1, 0.1]))[:3]  # shares: 0.6, 1, 0.2
    assert kept(keep_min_p(logits, min_p)) == expected


def test_min_p_1_keeps_all_of_the_likeliest() -> None:
    assert kept(keep_min_p(torch.tensor([3.0, 1.0, 3.0]), 1.0)) == [0, 2]


# --- repetition penalty -----------------------------------------------------------------------


def test_the_penalty_weakens_seen_tokens_once_whatever_their_sign() -> None:
    logits = torch.tensor([2.0, -2.0, 4.0, 0.0])
    assert penalise_repetition(logits, [0, 1, 1, 3, 0], 2.0).tolist() == [1, -4, 4, 0]
    assert logits.tolist() == [2, -2, 4, 0]


@given(rows, st.lists(st.integers(0, 11), max_size=20), st.floats(1, 10))
def test_the_penalty_equals_that_of_transformers(
    row: list[float], seen: list[int], penalty: float
) -> None:
    seen = [i % len(row) for i in seen]
    ours = penalise_repetition(torch.tensor(row), seen, penalty)
    processor = RepetitionPenaltyLogitsProcessor(penalty)
    ids = torch.tensor([seen], dtype=torch.int64)
    torch.testing.assert_close(ours, processor(ids, torch.tensor([row]))[0])


# --- all stages -------------------------------------------------------------------------------


def test_stages_run_in_the_order_of_the_docstring() -> None:
    logits = torch.tensor([4.0, 3.9, 3.0, 2.0, 1.0])
    config = SamplingConfig(temperature=0.5, top_k=4, top_p=0.9, min_p=0.1, repetition_penalty=2.0)
    # The penalty makes it 2, 3.9, 3, 2, 1; the temperature doubles: 4, 7.8, 6, 4, 2. Top-k drops
    # id 4. Shares: 1, e^-1.8 = .165, e^-3.8 = .022 twice, so .827, .137, .018, .018: top-p keeps
    # ids 1 and 2, and so does min-p, since .165 is above .1.
    out = filtered(logits, config, seen=[0])
    assert kept(out) == [1, 2]
    share = math.exp(-1.8)
    assert probabilities(out).tolist() == pytest.approx(
        [0, 1 / (1 + share), share / (1 + share), 0, 0]
    )


def test_top_p_sees_what_top_k_left_but_not_what_min_p_will_remove() -> None:
    logits = log(0.5, 0.3, 0.2)  # of two tokens alone, the first has 0.625
    assert kept(filtered(logits, SamplingConfig(temperature=1.0, top_k=2, top_p=0.6))) == [0]
    loose = SamplingConfig(temperature=1.0, top_k=0, top_p=0.6, min_p=0.5)
    assert kept(filtered(logits, loose)) == [0, 1]


@given(rows, configs, st.lists(st.integers(0, 11), max_size=5), st.integers(0, 2**63 - 1))
def test_filters_keep_at_least_one_token_and_the_choice_is_one_of_them(
    row: list[float], config: SamplingConfig, seen: list[int], seed: int
) -> None:
    logits = torch.tensor(row)
    choice = choose(logits, config, Dice(seed), [i % len(row) for i in seen])
    assert torch.equal(logits, torch.tensor(row))  # untouched
    for probs in (choice.probs, choice.kept):
        assert probs.dtype == torch.float32 and probs.sum().item() == pytest.approx(1, abs=1e-5)
        assert probs.min() >= 0
    assert choice.kept[choice.id] > 0
    assert config.top_k == 0 or int((choice.kept > 0).sum()) <= config.top_k
    if config.temperature == 0:
        assert choice.u is None
    else:
        assert choice.u is not None and pick(choice.kept, choice.u) == choice.id


@given(rows, configs)
def test_each_stage_only_removes_and_never_reorders(
    row: list[float], config: SamplingConfig
) -> None:
    logits = torch.tensor(row)
    for out in (
        keep_top_k(logits, config.top_k),
        keep_top_p(logits, config.top_p),
        keep_min_p(logits, config.min_p),
    ):
        stays = out != REMOVED
        assert torch.equal(out[stays], logits[stays])
        if not stays.all():
            probs = probabilities(logits)
            assert probs[stays].min() >= probs[~stays].max()


# --- the dice ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("u", "id"), [(0.0, 2), (0.499, 2), (0.501, 0), (0.749, 0), (0.751, 3), (0.999999, 3)]
)
def test_pick_lays_probabilities_end_to_end_likeliest_first(u: float, id: int) -> None:
    assert pick(torch.tensor([0.25, 0.0, 0.5, 0.25]), u) == id


def test_a_u_on_an_edge_belongs_to_what_begins_there() -> None:
    assert pick(torch.tensor([0.25, 0.5, 0.25]), 0.5) == 0
    assert pick(torch.tensor([0.25, 0.5, 0.25]), 0.75) == 2


def test_pick_never_takes_a_removed_token() -> None:
    largest = math.nextafter(1.0, 0.0)
    assert pick(torch.tensor([0.0, 0.3, 0.0, 0.7, 0.0]), largest) == 1
    assert pick(torch.tensor([0.0, 1.0]), 0.0) == pick(torch.tensor([0.0, 1.0]), largest) == 1


@given(st.lists(st.integers(0, 50), min_size=1, max_size=9).filter(any), st.floats(0, 1))
def test_pick_equals_exact_arithmetic(weights: list[int], u: float) -> None:
    u = min(u, math.nextafter(1.0, 0.0))
    total = sum(weights)
    edge, expected = Fraction(0), None
    for id in sorted(range(len(weights)), key=lambda i: (-weights[i], i)):
        edge += Fraction(weights[id], total)
        if abs(edge - Fraction(u)) < 1e-6:
            return  # too near an edge for float32
        if expected is None and u < edge:
            expected = id
    assert pick(torch.tensor(weights, dtype=torch.float32) / total, u) == expected


def test_chosen_tokens_come_as_often_as_their_probabilities_say() -> None:
    logits, config = log(0.1, 0.6, 0.05, 0.25), SamplingConfig(**ALL, top_p=0.9)
    dice, draws = Dice(1), 5000
    counts = Counter(choose(logits, config, dice).id for _ in range(draws))
    expected = {0: 0.1 / 0.95, 1: 0.6 / 0.95, 3: 0.25 / 0.95}  # 0.85 is short of 0.9, 0.95 is not
    assert counts.keys() == expected.keys()
    for id, prob in expected.items():
        spread = math.sqrt(prob * (1 - prob) / draws)
        assert abs(counts[id] / draws - prob) < 4 * spread


def rolls(seed: int | None, offset: int = 0, n: int = 4) -> Sequence[float]:
    dice = new_dice(SamplingConfig(seed=seed), offset)
    return [dice.roll() for _ in range(n)]


def test_equal_seeds_roll_alike_and_others_do_not() -> None:
    assert rolls(5) == rolls(5) != rolls(6)
    assert rolls(5, offset=1) == rolls(6)
    assert rolls(None) != rolls(None)


def test_dice_touch_no_global_generator() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    choose(torch.zeros(9), SamplingConfig(), Dice(0))
    assert torch.equal(before, torch.get_rng_state())


def test_an_unseeded_dice_can_be_repeated_from_its_seed() -> None:
    dice = new_dice(SamplingConfig(seed=None))
    assert dice.roll() == Dice(dice.seed).roll()


# --- settings ---------------------------------------------------------------------------------

BAD = [
    *[("temperature", v, "0 to 10") for v in (-0.1, 10.1, 10**400)],
    *[("top_k", v, "0 to 1,000,000") for v in (-1, 1_000_001, 2.0)],
    *[("top_p", v, "above 0 and at most 1") for v in (0, 0.0, -1, 1.01)],
    *[("min_p", v, "0 to 1") for v in (-0.01, 1.01)],
    *[("repetition_penalty", v, "1 to 10") for v in (0, 0.99, 10.5)],
    *[("seed", v, "0 to 9,223,372,036,854,775,807") for v in (-1, 2**63, 1.5)],
]
FIELDS = {field: limit for field, _, limit in BAD}
NO_NUMBERS = [math.nan, math.inf, -math.inf, "1", True, [1], 1j]


@pytest.mark.parametrize(
    ("field", "value", "limit"),
    BAD + [(field, value, limit) for field, limit in FIELDS.items() for value in NO_NUMBERS],
)
def test_a_setting_out_of_range_is_refused_with_field_value_and_limit(
    field: str, value: object, limit: str
) -> None:
    with pytest.raises(SamplingError) as error:
        SamplingConfig(**{field: value})
    message = str(error.value)
    assert message.startswith(field) and repr(value) in message and limit in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "edges",
    [
        {"temperature": 0, "top_k": 0, "top_p": 1, "min_p": 0, "repetition_penalty": 1, "seed": 0},
        {"temperature": 10, "top_k": 1_000_000, "top_p": 5e-324, "min_p": 1},
        {"repetition_penalty": 10, "seed": 2**63 - 1},
    ],
)
def test_the_limits_themselves_are_accepted_and_work(edges: dict[str, float]) -> None:
    config = SamplingConfig(**edges)
    assert choose(torch.tensor([1.0, 2.0]), config, new_dice(config), [0]).id in (0, 1)


def test_the_defaults_are_the_originals() -> None:
    assert SamplingConfig() == SamplingConfig(0.8, 20, 1.0, 0.0, 1.0, None)
