"""Token ids in, a stream of `Step`s out. The engine knows no text.

Shapes: L layers, H heads, T tokens of a prompt, S tokens attended to, V the vocabulary.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from picogpt.cache import KVCache
from picogpt.errors import ConfigError, PromptError
from picogpt.model import GPT, kept_when_full
from picogpt.sampling import Choice, SamplingConfig, choose, new_dice
from picogpt.trace import Trace

WEIGHTS = ("auto", "float32")
"""How weights may be held while decoding; `auto` takes the fastest there is."""


@dataclass(frozen=True)
class Alternative:
    """A token that could have been chosen."""

    id: int
    prob: float
    """Probability before the filters."""
    kept_prob: float
    """Probability after the filters; 0 when they removed it."""


@dataclass(frozen=True)
class Step:
    """One generated token and why it was chosen."""

    id: int
    prob: float
    """The model's probability for this token, before temperature and filters."""
    kept_prob: float
    """Its probability after temperature and filters, the one the dice saw."""
    rank: int
    """Place among all tokens by `prob`; 0 is the likeliest."""
    entropy: float
    """Uncertainty of the model here, in bits: 0 when sure, log2(V) when clueless."""
    u: float | None
    """The uniform number drawn, 0 <= u < 1; None at temperature 0."""
    position: int
    """Place of the token in the whole stream, counted from the first prompt token (0)."""
    seed: int
    """Seed of this stream's dice."""
    dropped: int = 0
    """Oldest tokens no longer in view, because the context was full."""
    alternatives: tuple[Alternative, ...] = ()
    """The likeliest tokens before the filters, best first."""
    attention: Tensor | None = None
    """(L, H, S) float32: where each head looked from the last token read; on request."""
    logits: Tensor | None = None
    """(V,) float32: what the model said before temperature and filters; on request."""
    text: str = ""
    """Text that became certain with this token; filled where a tokenizer is at hand."""


class Engine:
    """Runs a model; safe to share between threads, since each stream has its own cache.

    Args:
        model: put into evaluation mode; its weights are read, never changed.
        weights: one of `WEIGHTS`.

    Raises:
        ConfigError: `weights` is not one of `WEIGHTS`.
    """

    def __init__(self, model: GPT, weights: str = "auto") -> None:
        if weights not in WEIGHTS:
            raise ConfigError(
                f"weights is one of {', '.join(WEIGHTS)}; {weights!r} is not. Choose one of these."
            )
        self.model = model.eval()
        self.config = model.config

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.model.device

    def stream(
        self,
        ids: Sequence[int],
        sampling: SamplingConfig | None = None,
        max_new_tokens: int = 100,
        stop_ids: Collection[int] = (),
        stop: threading.Event | None = None,
        *,
        alternatives: int = 8,
        attention: bool = False,
        logits: bool = False,
    ) -> Iterator[Step]:
        """Continue `ids`, one `Step` a token.

        A prompt longer than the context keeps its newest `block_size` tokens; a context that
        fills up keeps its newest three quarters. Both are counted in `Step.dropped`.

        Args:
            ids: the prompt, at least one id, each below `vocab_size`.
            sampling: how to choose; the defaults of `SamplingConfig` when None.
            max_new_tokens: most tokens to generate (at least 0).
            stop_ids: ids that end the stream; the ending token is the last step.
            stop: set it from any thread to end the stream within one token.
            alternatives: how many of the likeliest tokens each step carries.
            attention: carry the attention row of every layer and head.
            logits: carry the whole row of logits.

        Raises:
            PromptError: no ids, an id outside the vocabulary, or a `max_new_tokens` that is no
                whole number from 0 up.
        """
        sampling = sampling or SamplingConfig()
        self._check(ids, max_new_tokens)
        return self._steps(
            list(ids),
            sampling,
            max_new_tokens,
            frozenset(stop_ids),
            stop,
            Extras(alternatives, attention, logits),
        )

    @torch.inference_mode()
    def _forward(
        self, ids: Sequence[int], cache: KVCache | None = None, trace: Trace | None = None
    ) -> Tensor:
        """Logits after the last of `ids`: (V,) float32."""
        idx = torch.tensor([ids], device=self.device)  # (1, T)
        x = self.model.hidden(idx, cache, trace)[0, -1]  # (C,)
        return self.model.lm_head(x).float()

    def _steps(
        self,
        ids: list[int],
        sampling: SamplingConfig,
        max_new_tokens: int,
        stop_ids: frozenset[int],
        stop: threading.Event | None,
        extras: Extras,
    ) -> Iterator[Step]:
        dice = new_dice(sampling)
        cache = KVCache(self.config, 1, self.device, self.model.lm_head.weight.dtype)
        fresh = ids[-self.config.block_size :]
        dropped = len(ids) - len(fresh)
        for _ in range(max_new_tokens):
            if stop is not None and stop.is_set():
                return
            if cache.length == cache.capacity:
                cache.truncate(0)
                fresh = ids[-kept_when_full(self.config.block_size) :]
                dropped = len(ids) - len(fresh)
            trace = Trace() if extras.attention else None
            row = self._forward(fresh, cache, trace)  # (V,)
            choice = choose(row, sampling, dice, ids[dropped:])
            step = _make_step(choice, len(ids), dice.seed, dropped, extras.alternatives)
            if trace is not None:
                seen = trace.attention()[:, 0, :, -1]  # (L, H, S)
                step = dataclasses.replace(step, attention=seen.float().cpu().contiguous())
            if extras.logits:
                step = dataclasses.replace(step, logits=row.cpu().clone())
            yield step
            if choice.id in stop_ids:
                return
            ids.append(choice.id)
            fresh = [choice.id]

    def next_logits(self, ids: Sequence[int]) -> Tensor:
        """Logits of the token after `ids` (of a longer text its newest part): (V,) float32, CPU.

        Raises:
            PromptError: no ids, or an id outside the vocabulary.
        """
        self._check(ids)
        return self._forward(ids[-self.config.block_size :]).cpu().clone()

    def attention(self, ids: Sequence[int]) -> Tensor:
        """All attention weights over `ids` (of a longer text its newest part).

        Returns:
            (L, H, T, T) float32 on the CPU; row t, the weights from token t, sums to 1.

        Raises:
            PromptError: no ids, or an id outside the vocabulary.
        """
        self._check(ids)
        trace = Trace()
        self._forward(ids[-self.config.block_size :], trace=trace)
        return trace.attention()[:, 0].float().cpu()

    def _check(self, ids: Sequence[int], max_new_tokens: int = 0) -> None:
        if not len(ids):
            raise PromptError("The prompt is empty. Give the model at least one token to go on.")
        low, high = min(ids), max(ids)
        if low < 0 or high >= self.config.vocab_size:
            raise PromptError(
                f"Token ids go from 0 to {self.config.vocab_size - 1:,}; the prompt holds "
                f"{low if low < 0 else high:,}. Encode it with this model's own tokenizer."
            )
        if not isinstance(max_new_tokens, int) or max_new_tokens < 0:
            raise PromptError(
                f"max_new_tokens is a whole number of at least 0; {max_new_tokens!r} is not. "
                "Choose such a number."
            )


@dataclass(frozen=True)
class Extras:
    """What each step of a stream carries beyond the choice itself."""

    alternatives: int = 8
    attention: bool = False
    logits: bool = False


def _make_step(choice: Choice, position: int, seed: int, dropped: int, alternatives: int) -> Step:
    prob = choice.probs[choice.id]
    entropy = -(choice.probs * choice.probs.clamp_min(1e-30).log2()).sum()
    best = choice.probs.topk(min(alternatives, choice.probs.numel())).indices.tolist()
    return Step(
        id=choice.id,
        prob=float(prob),
        kept_prob=float(choice.kept[choice.id]),
        rank=int((choice.probs > prob).sum()),
        entropy=float(entropy),
        u=choice.u,
        position=position,
        seed=seed,
        dropped=dropped,
        alternatives=tuple(
            Alternative(i, float(choice.probs[i]), float(choice.kept[i])) for i in best
        ),
    )
