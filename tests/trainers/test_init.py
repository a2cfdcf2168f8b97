"""What training starts from: blocks that do nothing yet, and heads that look back."""

from __future__ import annotations

import pytest
import torch

from picogpt import GPT, GPTConfig
from picogpt.trace import Trace
from tests.fakes import random_ids, tiny_model
from tests.trainers.small import begin as begin_run
from trainers import init
from trainers.init import begin

#: n_head, n_embd, block_size, vocab_size
SMALL, FAST, CONVERSATION, LARGE = (
    (4, 128, 128, 100), (8, 256, 256, 512), (6, 384, 256, 512), (8, 512, 256, 512),
)  # fmt: skip
ODD = [(5, 15, 24, 60), (3, 33, 40, 60), (3, 9, 16, 60), (8, 8, 16, 60), (1, 9, 8, 60),
       (12, 24, 64, 60), (7, 49, 64, 60), (64, 64, 8, 60), (2, 16, 8, 60)]  # fmt: skip


def fresh(shape: tuple[int, int, int, int], n_layer: int = 1, seed: int = 1) -> GPT:
    n_head, n_embd, block_size, vocab_size = shape
    torch.manual_seed(seed)
    model = GPT(GPTConfig(n_layer, n_head, n_embd, block_size, vocab_size)).eval()
    begin(model)
    return model


def first_attention(model: GPT) -> torch.Tensor:
    """Weights of block 0 on random ids: (B, H, T, S)."""
    trace, config = Trace(), model.config
    with torch.no_grad():
        model(random_ids((3, config.block_size), config.vocab_size), trace=trace)
    return trace.layers[0]


@pytest.mark.parametrize("shape", [SMALL, FAST, CONVERSATION, LARGE])
def test_head_h_looks_h_tokens_back(shape: tuple[int, int, int, int]) -> None:
    rows = first_attention(fresh(shape))
    for h in range(shape[0]):
        found = rows[:, h, h:].argmax(-1)  # (B, T - h): where each token from the h-th on looks
        right = found == torch.arange(shape[2] - h)
        assert right.double().mean() > 0.99, h  # all but one or two of 750


def test_fresh_gpt2_does_not() -> None:
    """The test above can tell."""
    torch.manual_seed(1)
    rows = first_attention(GPT(GPTConfig(1, *SMALL)).eval())
    looked = rows[:, 1, 1:].argmax(-1)
    assert (looked == torch.arange(SMALL[2] - 1)).double().mean() < 0.2


@pytest.mark.parametrize("shape", ODD)
def test_shapes_that_do_not_divide_nicely(shape: tuple[int, int, int, int]) -> None:
    model = fresh(shape, n_layer=2)
    rows = first_attention(model)
    assert all(torch.isfinite(p).all() for p in model.parameters())
    torch.testing.assert_close(rows.sum(-1), torch.ones(rows.shape[:-1]))


def test_a_head_of_a_few_numbers_looks_back_as_well_as_it_can() -> None:
    rows = first_attention(fresh((3, 33, 40, 60)))
    for h in range(3):
        right = rows[:, h, h:].argmax(-1) == torch.arange(40 - h)
        assert right.double().mean() > 0.8, h


def test_blocks_begin_as_the_identity() -> None:
    model = tiny_model()  # no bias is zero here
    begin(model)
    for block in model.transformer["h"]:
        for projection in (block.attn.c_proj, block.mlp.c_proj):
            assert not projection.weight.any()
            torch.nn.init.zeros_(projection.bias)
    x = torch.randn(1, 5, 16)
    for block in model.transformer["h"]:
        assert torch.equal(block(x, None, None), x)


def test_only_positions_first_heads_and_projections_are_touched() -> None:
    model, twin = tiny_model(), tiny_model()
    begin(twin)
    changed = {
        name for (name, p), q in zip(model.named_parameters(), twin.parameters(), strict=True)
        if not torch.equal(p, q)
    }  # fmt: skip
    projections = {f"transformer.h.{i}.{part}.c_proj.weight" for i in (0, 1)
                   for part in ("attn", "mlp")}  # fmt: skip
    first = "transformer.h.0.attn.c_attn.weight"
    assert changed == projections | {"transformer.wpe.weight", first}
    before, after = (m.get_parameter(first).detach().chunk(3) for m in (model, twin))
    assert torch.equal(before[2], after[2])  # values stay
    with torch.no_grad():
        std = twin.transformer["wpe"].weight.square().mean().sqrt()
    assert float(std) == pytest.approx(init.POSITION_STD, rel=1e-3)


def test_runs_begin_so(tmp_path) -> None:
    _, _, state = begin_run(tmp_path, n_layer=2, n_embd=64, n_head=4)
    rows = first_attention(state.model)
    assert torch.equal(rows[0, 1, 1:].argmax(-1), torch.arange(15))
    assert not any(block.mlp.c_proj.weight.any() for block in state.model.transformer["h"])
