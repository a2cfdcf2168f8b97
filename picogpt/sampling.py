"""From logits to one token id, one visible stage at a time.

    logits -> repetition penalty -> temperature -> top-k -> top-p -> min-p -> probabilities -> id

Every stage is a pure function from a row of V numbers to a row of V numbers; a token that a
stage removes gets the logit -inf. The last step turns one uniform number u into an id, so that
whoever has the row and u can repeat the choice, or draw it on a screen.

Shapes: V is the size of the vocabulary.
"""

from __future__ import annotations

import math
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from picogpt.errors import SamplingError

REMOVED = -math.inf


@dataclass(frozen=True)
class SamplingConfig:
    """How the next token is chosen. Checked when made.

    Raises:
        SamplingError: a field is not a number in its range.
    """

    temperature: float = 0.8
    """Logits are divided by it (0 to 10); 0 always takes the likeliest token."""
    top_k: int = 20
    """Only the k likeliest tokens stay (0 to 1,000,000); 0 keeps all."""
    top_p: float = 1.0
    """Only the likeliest tokens that together reach this probability stay (above 0 to 1)."""
    min_p: float = 0.0
    """Tokens below this share of the likeliest one's probability go (0 to 1); 0 keeps all."""
    repetition_penalty: float = 1.0
    """Logits of tokens already in the context are weakened by this factor (1 to 10); 1 is off."""
    seed: int | None = None
    """Starts the dice (0 to 2^63 - 1); None draws a new one for every stream."""

    def __post_init__(self) -> None:
        _check_number("temperature", self.temperature, 0, 10)
        _check_whole("top_k", self.top_k, 0, 1_000_000)
        _check_number("top_p", self.top_p, 0, 1, above=True)
        _check_number("min_p", self.min_p, 0, 1)
        _check_number("repetition_penalty", self.repetition_penalty, 1, 10)
        if self.seed is not None:
            _check_whole("seed", self.seed, 0, 2**63 - 1)


def _check_number(field: str, value: object, low: float, high: float, above: bool = False) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and low <= value <= high and not (above and value == low):  # NaN is in no range
        return
    kind = f"above {low:g} and at most {high:g}" if above else f"from {low:g} to {high:g}"
    raise SamplingError(f"{field} is a number {kind}; {value!r} is not. Choose one in that range.")


def _check_whole(field: str, value: object, low: int, high: int) -> None:
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return
    raise SamplingError(
        f"{field} is a whole number from {low:,} to {high:,}; {value!r} is not. "
        "Choose one in that range."
    )


def new_dice(sampling: SamplingConfig, offset: int = 0) -> Dice:
    """The dice of one stream; `offset` tells apart streams that share a seed."""
    seed = sampling.seed if sampling.seed is not None else secrets.randbelow(2**32)
    return Dice(seed + offset)


class Dice:
    """A seeded source of uniform numbers, the same on every device and operating system."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._random = random.Random(seed)

    def roll(self) -> float:
        """The next number, 0 <= u < 1."""
        return self._random.random()


# --- the stages -------------------------------------------------------------------------------


def penalise_repetition(logits: Tensor, seen: Sequence[int], penalty: float) -> Tensor:
    """Weaken tokens that were already used: positive logits / penalty, negative ones * penalty.

    Source: Keskar et al. 2019, "CTRL".
    """
    if penalty == 1 or not len(seen):
        return logits
    ids = torch.tensor(sorted(set(seen)), device=logits.device)
    values = logits[ids]
    values = torch.where(values > 0, values / penalty, values * penalty)
    return logits.index_copy(0, ids, values)


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Divide by the temperature; at 0 only the likeliest token (the lowest id of equals) stays."""
    if temperature == 0:
        best = int(logits.argmax())
        only = torch.full_like(logits, REMOVED)
        only[best] = logits[best]
        return only
    shifted = (logits - logits.max()).double()  # so that a tiny temperature cannot overflow
    return (shifted / temperature).to(logits.dtype)


def keep_top_k(logits: Tensor, top_k: int) -> Tensor:
    """Keep exactly the k largest (of equals at the edge the lower ids); 0 keeps all."""
    if top_k == 0 or top_k >= logits.numel():
        return logits
    edge = logits.topk(top_k).values[-1]
    above = logits > edge
    ties = (logits == edge).nonzero().flatten()[: top_k - int(above.sum())]
    keep = above.index_fill(0, ties, True)
    return logits.masked_fill(~keep, REMOVED)


def keep_top_p(logits: Tensor, top_p: float) -> Tensor:
    """Keep the fewest likeliest tokens whose probabilities reach `top_p`, always at least one.

    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration".
    """
    if top_p >= 1:
        return logits
    probs, order = probabilities(logits).sort(descending=True, stable=True)
    before = probs.double().cumsum(0) - probs  # probability of all likelier tokens
    cut = order[before >= top_p]
    return logits.index_fill(0, cut[cut != order[0]], REMOVED)


def keep_min_p(logits: Tensor, min_p: float) -> Tensor:
    """Remove tokens whose probability is below `min_p` times that of the likeliest.

    Source: Nguyen et al. 2024, "Min-p Sampling".
    """
    if min_p == 0:
        return logits
    probs = probabilities(logits)
    return logits.masked_fill(probs < min_p * probs.max(), REMOVED)


def probabilities(logits: Tensor) -> Tensor:
    """Softmax in float32: (V,) logits to (V,) probabilities that sum to 1."""
    return logits.float().softmax(dim=-1)


def filtered(logits: Tensor, sampling: SamplingConfig, seen: Sequence[int] = ()) -> Tensor:
    """All stages in order: (V,) logits to (V,) logits, -inf where a token was removed."""
    logits = penalise_repetition(logits, seen, sampling.repetition_penalty)
    logits = apply_temperature(logits, sampling.temperature)
    logits = keep_top_k(logits, sampling.top_k)
    logits = keep_top_p(logits, sampling.top_p)
    return keep_min_p(logits, sampling.min_p)


def pick(probs: Tensor, u: float) -> int:
    """The id on which u falls when the probabilities lie end to end, likeliest first.

    Args:
        probs: (V,) probabilities summing to 1; equals lie in the order of their ids.
        u: 0 <= u < 1.
    """
    ordered, order = probs.sort(descending=True, stable=True)
    edges = ordered.double().cumsum(0)
    edges = edges / edges[-1]
    index = int(torch.searchsorted(edges, torch.tensor(u, dtype=edges.dtype), right=True))
    last = int((ordered > 0).sum()) - 1  # never a removed token, whatever rounding does
    return int(order[min(index, last)])


@dataclass(frozen=True)
class Choice:
    """One chosen token and what the choice rested on."""

    id: int
    """The chosen token."""
    u: float | None
    """The number drawn, 0 <= u < 1; None when the temperature is 0 and nothing was drawn."""
    probs: Tensor
    """(V,) float32 on the CPU: the model's own probabilities, before any stage."""
    kept: Tensor
    """(V,) float32 on the CPU: the probabilities after every stage, 0 where removed."""


def choose(
    logits: Tensor, sampling: SamplingConfig, dice: Dice, seen: Sequence[int] = ()
) -> Choice:
    """Choose the next token.

    Args:
        logits: (V,) on any device.
        sampling: the settings.
        dice: gives one number, unless the temperature is 0.
        seen: ids of the context, for the repetition penalty.
    """
    logits = logits.detach().float().cpu()
    kept = probabilities(filtered(logits, sampling, seen))
    u = None if sampling.temperature == 0 else dice.roll()
    token = int(kept.argmax()) if u is None else pick(kept, u)
    return Choice(token, u, probabilities(logits), kept)
