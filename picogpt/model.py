"""GPT-2, from token ids to logits. Read it from top to bottom.

Shapes, the same letters everywhere:
    B  sequences in a batch         C  width of the residual stream (n_embd)
    T  tokens in a sequence         H  heads, D = C / H numbers each
    S  tokens attended to           V  size of the vocabulary

The architecture is exactly GPT-2's (Radford et al. 2019): learned positions, LayerNorm before
each half of a block, one fused query-key-value projection, GELU in its tanh form, and an output
head that shares its weights with the token embedding. Module names are GPT-2's own, so a state
dict differs from the published one only in the layout of the linear layers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from picogpt.cache import KVCache
from picogpt.config import GPTConfig
from picogpt.errors import ConfigError, PromptError
from picogpt.sampling import SamplingConfig, choose, new_dice
from picogpt.trace import Trace

IGNORE = -100
"""Target id that does not count in the loss."""


class CausalSelfAttention(nn.Module):
    """Every token looks back at itself and the tokens before it, in H independent ways."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.n_head, self.dropout = layer, config.n_head, config.dropout
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)
        self.resid_dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: KVCache | None, trace: Trace | None) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        B, T, C = x.shape
        q, k, v = self.c_attn(x).split(C, dim=2)  # each (B, T, C)
        q = q.view(B, T, self.n_head, -1).transpose(1, 2)  # (B, H, T, D)
        k = k.view(B, T, self.n_head, -1).transpose(1, 2)  # (B, H, T, D)
        v = v.view(B, T, self.n_head, -1).transpose(1, 2)  # (B, H, T, D)
        if cache is not None:
            k, v = cache.append(self.layer, k, v)  # (B, H, S, D), S = stored + T
        S = k.shape[2]
        dropout = self.dropout if self.training else 0.0
        if trace is None:
            y = attend(q, k, v, dropout)  # (B, H, T, D)
        else:
            scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])  # (B, H, T, S)
            if T > 1:
                scores = scores.masked_fill(~causal_mask(T, S, x.device), -math.inf)
            weights = scores.softmax(dim=-1)
            trace.layers.append(weights.detach())
            y = F.dropout(weights, dropout, self.training) @ v  # (B, H, T, D)
        y = y.transpose(1, 2).reshape(B, T, C)
        return self.resid_dropout(self.c_proj(y))


def attend(q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
    """Causal attention by PyTorch's fused kernel, whose weights are never written down.

    On a CPU it runs in float32 even where the rest runs in bfloat16: there the kernel's backward
    pass takes 2.7 ms in float32 and 17.9 ms in bfloat16 (2,048 tokens, 4 heads of 32 numbers).

    Args:
        q: (B, H, T, D).
        k, v: (B, H, S, D), S at least T; the last T of them are the queries' own tokens.
        dropout: share of attention weights dropped.

    Returns:
        (B, H, T, D).
    """
    T, S, dtype = q.shape[2], k.shape[2], q.dtype
    mask = causal_mask(T, S, q.device) if 1 < T < S else None
    with torch.autocast("cpu", enabled=False):
        if q.device.type == "cpu" and q.dtype == torch.bfloat16:
            q, k, v = q.float(), k.float(), v.float()
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=T == S and T > 1
        )
        return y.to(dtype)


def causal_mask(T: int, S: int, device: torch.device | str = "cpu") -> Tensor:
    """True where the last T of S tokens may look: (T, S) bool, each token back to the first."""
    return torch.ones(T, S, dtype=torch.bool, device=device).tril(S - T)


class MLP(nn.Module):
    """Each token thinks for itself, four times as wide."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        return self.dropout(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh")))


class Block(nn.Module):
    """Look around (attention), then think (MLP); both add to the residual stream."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd)
        self.attn = CausalSelfAttention(config, layer)
        self.ln_2 = nn.LayerNorm(config.n_embd)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, cache: KVCache | None, trace: Trace | None) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        x = x + self.attn(self.ln_1(x), cache, trace)
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """A GPT-2 language model.

    Raises:
        ConfigError: the config has a field outside its range (see `GPTConfig.validate`).
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        config.validate()
        self.config = config = config.copy()
        self.recompute = False
        """While training, compute the inside of a block again when its gradient is due, and keep
        only what goes in (activation checkpointing, Chen et al. 2016): slower, in less memory."""
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(config.vocab_size, config.n_embd),
                "wpe": nn.Embedding(config.block_size, config.n_embd),
                "drop": nn.Dropout(config.dropout),
                "h": nn.ModuleList(Block(config, i) for i in range(config.n_layer)),
                "ln_f": nn.LayerNorm(config.n_embd),
            }
        )
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.lm_head.weight = self.transformer["wte"].weight  # tied: read and write one table
        self.apply(_initialise)
        for block in self.transformer["h"]:  # 2 * n_layer sums into the stream: keep its variance
            for projection in (block.attn.c_proj, block.mlp.c_proj):
                nn.init.normal_(projection.weight, std=0.02 / math.sqrt(2 * config.n_layer))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.lm_head.weight.device

    def num_parameters(self) -> int:
        """Trainable numbers; the tied head counts once."""
        return sum(p.numel() for p in self.parameters())

    def hidden(
        self, idx: Tensor, cache: KVCache | None = None, trace: Trace | None = None
    ) -> Tensor:
        """The residual stream after the last norm.

        Args:
            idx: (B, T) int64 token ids below `vocab_size`.
            cache: holds the tokens before `idx`; they are attended to, and `idx` is added.
            trace: filled with every layer's attention weights.

        Returns:
            (B, T, C).

        Raises:
            ConfigError: stored and new tokens together exceed `block_size`.
        """
        past = cache.length if cache is not None else 0
        end = past + idx.shape[1]
        if end > self.config.block_size:
            raise ConfigError(
                f"The context holds {self.config.block_size:,} tokens; {end:,} were given. "
                "Keep the newest and drop the rest."
            )
        positions = torch.arange(past, end, device=idx.device)  # (T,)
        x = self.transformer["wte"](idx) + self.transformer["wpe"](positions)  # (B, T, C)
        x = self.transformer["drop"](x)
        recompute = self.recompute and torch.is_grad_enabled()
        for block in self.transformer["h"]:
            if recompute:
                x = checkpoint(block, x, cache, trace, use_reentrant=False)
            else:
                x = block(x, cache, trace)
        if cache is not None:
            cache.advance(idx.shape[1])
        return self.transformer["ln_f"](x)

    def forward(
        self,
        idx: Tensor,
        targets: Tensor | None = None,
        cache: KVCache | None = None,
        trace: Trace | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits at every position, and the loss when targets are given.

        Args:
            idx: (B, T) int64 token ids below `vocab_size`.
            targets: (B, T) int64, the id that follows each position; `IGNORE` (-100) is left out.
            cache: see `hidden`.
            trace: see `hidden`.

        Returns:
            (B, T, V) logits; with targets, the pair of logits and the mean cross-entropy in nats
            a token, a scalar.

        Raises:
            ConfigError: more tokens than `block_size`.
        """
        logits = self.lm_head(self.hidden(idx, cache, trace))
        if targets is None:
            return logits
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORE)
        return logits, loss

    @torch.no_grad()
    def generate(
        self,
        idx: Tensor,
        max_new_tokens: int = 100,
        temperature: float = 0.8,
        top_k: int = 20,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> Tensor:
        """Continue each row; a plain loop for scripts (`Engine.stream` shows every step).

        Args:
            idx: (B, T) int64 token ids, T at least 1; of a longer row the newest tokens are read.
            max_new_tokens: tokens to add to each row.
            temperature, top_k, top_p, seed: see `SamplingConfig`; row b draws with seed + b.

        Returns:
            (B, T + max_new_tokens) int64.

        Raises:
            SamplingError: a sampling setting outside its range.
            PromptError: rows without a single token.
        """
        if not idx.shape[1]:
            raise PromptError("The prompt is empty. Give the model at least one token to go on.")
        sampling = SamplingConfig(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        dice = [new_dice(sampling, offset=b) for b in range(idx.shape[0])]
        cache = KVCache(self.config, idx.shape[0], idx.device, self.lm_head.weight.dtype)
        fresh = idx[:, -self.config.block_size :]
        was_training = self.training
        self.eval()
        try:
            for _ in range(max_new_tokens):
                if cache.length == cache.capacity:
                    cache.truncate(0)
                    fresh = idx[:, -kept_when_full(self.config.block_size) :]
                logits = self.lm_head(self.hidden(fresh, cache)[:, -1]).float()  # (B, V)
                picks = [choose(row, sampling, d).id for row, d in zip(logits, dice, strict=True)]
                fresh = torch.tensor(picks, device=idx.device)[:, None]  # (B, 1)
                idx = torch.cat([idx, fresh], dim=1)
        finally:
            self.train(was_training)
        return idx


def kept_when_full(block_size: int) -> int:
    """How many of the newest tokens stay when a context of `block_size` tokens is full.

    Three quarters: keys and values depend on positions, so they must be computed anew after a
    cut, and this way that happens once every quarter context instead of at every token.
    """
    return block_size - block_size // 4


def _initialise(module: nn.Module) -> None:
    """GPT-2's normal(0, 0.02) for every matrix and table, zero for every bias."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
