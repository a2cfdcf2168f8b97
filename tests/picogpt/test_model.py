"""The model against transformers' GPT-2 and against itself."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from picogpt import GPT, GPTConfig, save_checkpoint
from picogpt.cache import KVCache
from picogpt.errors import ConfigError, PromptError, SamplingError
from picogpt.model import IGNORE, causal_mask, kept_when_full
from picogpt.trace import Trace
from tests.fakes import byte_tokenizer, random_ids, tiny_model

# (n_layer, n_head, n_embd, block_size, vocab_size): one head, odd widths, head size 1, and so on.
SHAPES = [
    (1, 1, 1, 4, 3),
    (1, 1, 7, 9, 5),
    (2, 3, 15, 11, 50),
    (3, 5, 5, 16, 13),
    (2, 4, 64, 33, 300),
]
LINEAR = ("c_attn.weight", "c_proj.weight", "c_fc.weight")

shapes = st.builds(
    lambda n_layer, n_head, head, block, vocab: (n_layer, n_head, n_head * head, block, vocab),
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 9), st.integers(1, 12), st.integers(1, 30),
)  # fmt: skip


def transformers_twin(model: GPT) -> GPT2LMHeadModel:
    """transformers' own GPT-2 with the weights of `model`, copied here and not by our code."""
    c = model.config
    twin = GPT2LMHeadModel(
        GPT2Config(
            n_layer=c.n_layer, n_head=c.n_head, n_embd=c.n_embd, n_positions=c.block_size,
            vocab_size=c.vocab_size,
        )
    )  # fmt: skip
    state = {k: v.t() if k.endswith(LINEAR) else v for k, v in model.state_dict().items()}
    twin.load_state_dict({k: v.clone() for k, v in state.items()})
    return twin.eval()


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_equal_those_of_transformers(shape: tuple[int, ...]) -> None:
    model = tiny_model(*shape)
    idx = random_ids((2, model.config.block_size), model.config.vocab_size)
    with torch.no_grad():
        ours, theirs = model(idx), transformers_twin(model)(idx).logits
    assert ours.std() > 0.1 or shape[2] == 1  # the weights do something
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(1, 1, 7, 9), (2, 3, 15, 11), (3, 4, 32, 24)])
def test_logits_equal_those_of_transformers_through_a_saved_folder(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    tokenizer = byte_tokenizer()
    model = tiny_model(*shape, vocab_size=tokenizer.vocab_size)
    with torch.no_grad():
        for weights in model.parameters():
            weights.copy_(weights.half().float())  # what a folder can hold
    save_checkpoint(tmp_path / "saved", model, tokenizer)
    theirs, loading = GPT2LMHeadModel.from_pretrained(
        tmp_path / "saved", dtype=torch.float32, output_loading_info=True
    )
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    idx = random_ids((2, shape[3]), tokenizer.vocab_size)
    with torch.no_grad():
        torch.testing.assert_close(model(idx), theirs(idx).logits, atol=1e-4, rtol=0)


def test_gradients_equal_those_of_transformers() -> None:
    model = tiny_model(2, 3, 15, 11, 50)
    twin = transformers_twin(model)
    idx = random_ids((3, 11), 50)
    model(idx[:, :-1], idx[:, 1:])[1].backward()
    twin(idx, labels=idx).loss.backward()
    theirs = dict(twin.named_parameters())
    for name, weights in model.named_parameters():
        grad = theirs[name].grad
        grad = grad.t() if name.endswith(LINEAR) else grad
        torch.testing.assert_close(weights.grad, grad, atol=1e-5, rtol=1e-4, msg=name)


@settings(max_examples=40)
@given(shape=shapes, data=st.data(), seed=st.integers(0, 99), traced=st.booleans())
def test_cached_logits_equal_uncached_ones_however_the_prompt_is_cut(
    shape: tuple[int, ...], data: st.DataObject, seed: int, traced: bool
) -> None:
    model = tiny_model(*shape, seed=seed)
    block = model.config.block_size
    total = data.draw(st.integers(1, block))
    cuts = sorted(data.draw(st.sets(st.integers(1, total), max_size=total)) | {0, total})
    idx = random_ids((2, total), model.config.vocab_size, seed)
    cache = KVCache(model.config, batch=2)
    with torch.no_grad():
        whole = model(idx)
        chunks = [
            model(idx[:, a:b], cache=cache, trace=Trace() if traced else None)
            for a, b in pairwise(cuts)
        ]
    assert cache.length == total
    torch.testing.assert_close(torch.cat(chunks, dim=1), whole, atol=1e-4, rtol=0)


def test_a_truncated_cache_goes_on_from_where_it_was_cut() -> None:
    model, idx = tiny_model(), random_ids((1, 32), 300)
    cache = KVCache(model.config)
    with torch.no_grad():
        model(idx, cache=cache)
        cache.truncate(20)
        other = random_ids((1, 12), 300, seed=1)
        after = model(other, cache=cache)
        whole = model(torch.cat([idx[:, :20], other], dim=1))
    torch.testing.assert_close(after, whole[:, 20:], atol=1e-4, rtol=0)


def test_a_context_may_be_full_but_not_overflow() -> None:
    model = tiny_model(block_size=8)
    cache = KVCache(model.config)
    with torch.no_grad():
        model(random_ids((1, 8), 300), cache=cache)
        with pytest.raises(ConfigError, match="holds 8 tokens; 9 were given"):
            model(random_ids((1, 1), 300), cache=cache)
        with pytest.raises(ConfigError, match="holds 8 tokens; 9 were given"):
            model(random_ids((1, 9), 300))
    assert cache.length == 8


def test_no_token_sees_those_after_it() -> None:
    model = tiny_model()
    one, two = random_ids((1, 20), 300, seed=1), random_ids((1, 20), 300, seed=2)
    two[:, :10] = one[:, :10]
    with torch.no_grad():
        a, b = model(one), model(two)
    torch.testing.assert_close(a[:, :10], b[:, :10])
    assert (a[:, 10:] - b[:, 10:]).abs().max() > 0.1


@settings(max_examples=25)
@given(shape=shapes, seed=st.integers(0, 99))
def test_tracing_changes_no_logits_and_shows_causal_rows_that_sum_to_1(
    shape: tuple[int, ...], seed: int
) -> None:
    model = tiny_model(*shape, seed=seed)
    T = model.config.block_size
    idx = random_ids((2, T), model.config.vocab_size, seed)
    trace = Trace()
    with torch.no_grad():
        torch.testing.assert_close(model(idx, trace=trace), model(idx), atol=1e-4, rtol=0)
    weights = trace.attention()
    assert weights.shape == (model.config.n_layer, 2, model.config.n_head, T, T)
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    assert weights.triu(1).abs().max() == 0 and weights.min() >= 0


def test_traced_attention_equals_that_of_transformers() -> None:
    model, idx = tiny_model(), random_ids((2, 32), 300)
    twin = transformers_twin(model)
    twin.set_attn_implementation("eager")
    trace = Trace()
    with torch.no_grad():
        model(idx, trace=trace)
        theirs = torch.stack(twin(idx, output_attentions=True).attentions)
    torch.testing.assert_close(trace.attention(), theirs, atol=1e-5, rtol=0)


def test_the_causal_mask_of_two_new_tokens_after_two_old_ones() -> None:
    assert causal_mask(2, 4).tolist() == [[True, True, True, False], [True, True, True, True]]


def test_the_loss_is_the_mean_over_the_targets_that_count() -> None:
    model, idx, targets = tiny_model(), random_ids((2, 6), 300), random_ids((2, 6), 300, seed=1)
    targets[0, :4] = targets[1, 2] = IGNORE
    logits, loss = model(idx, targets)
    by_hand = [
        math.log(sum(math.exp(x) for x in row.tolist())) - row[int(target)].item()
        for row, target in zip(logits.flatten(0, 1), targets.flatten(), strict=True)
        if target != IGNORE
    ]
    assert len(by_hand) == 7
    assert loss.item() == pytest.approx(sum(by_hand) / 7, abs=1e-5)
    torch.testing.assert_close(
        loss, F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=-100)
    )
    torch.testing.assert_close(logits, model(idx))


def test_the_head_shares_the_embedding_and_new_weights_have_gpt2s_spread() -> None:
    model = GPT(GPTConfig(n_layer=2, n_head=4, n_embd=128, vocab_size=256))
    assert model.lm_head.weight is model.transformer["wte"].weight
    assert model.lm_head.weight.std().item() == pytest.approx(0.02, rel=0.05)
    block = model.transformer["h"][0]
    assert block.attn.c_proj.weight.std().item() == pytest.approx(0.01, rel=0.05)  # / sqrt(2 * 2)
    assert block.mlp.c_proj.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert block.attn.c_attn.bias.abs().max() == 0


def test_a_new_model_is_as_clueless_as_the_vocabulary_is_large() -> None:
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=512))
    idx = random_ids((4, 128), 512)
    assert model(idx, random_ids((4, 128), 512, seed=1))[1].item() == pytest.approx(
        math.log(512), abs=0.1
    )


def test_dropout_acts_in_training_only() -> None:
    model, idx = tiny_model(dropout=0.5), random_ids((1, 16), 300)
    torch.testing.assert_close(model(idx), tiny_model()(idx))
    model.train()
    assert not torch.allclose(model(idx), model(idx))


# --- generate ---------------------------------------------------------------------------------


def slow_greedy(model: GPT, row: list[int], n: int) -> list[int]:
    """Greedy decoding without a cache, cropping as the documentation says."""
    block = model.config.block_size
    row, view = list(row), list(row[-block:])
    for _ in range(n):
        if len(view) > block:
            view = row[-(block - block // 4) :]
        with torch.no_grad():
            id = int(model(torch.tensor([view]))[0, -1].argmax())
        row.append(id)
        view.append(id)
    return row


@pytest.mark.parametrize("block_size", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("prompt", [1, 4, 16, 20])
def test_greedy_generation_equals_an_uncached_loop(block_size: int, prompt: int) -> None:
    model = tiny_model(block_size=block_size)
    idx = random_ids((2, prompt), 300)
    out = model.generate(idx, max_new_tokens=24, temperature=0)
    assert out.tolist() == [slow_greedy(model, row, 24) for row in idx.tolist()]


def test_generate_keeps_the_prompt_and_adds_what_was_asked() -> None:
    model, idx = tiny_model(), random_ids((3, 5), 300)
    out = model.generate(idx, max_new_tokens=40, temperature=0.8, top_k=10)
    assert out.shape == (3, 45) and out.dtype == torch.int64
    assert torch.equal(out[:, :5], idx)
    assert out.min() >= 0 and out.max() < 300
    assert torch.equal(model.generate(idx, max_new_tokens=0), idx)


def test_equal_seeds_give_equal_rows_and_row_b_uses_seed_plus_b() -> None:
    model, row = tiny_model(), random_ids((1, 5), 300)
    both = model.generate(row.repeat(2, 1), 20, temperature=2.0, top_k=0, seed=7)
    assert torch.equal(both[:1], model.generate(row, 20, temperature=2.0, top_k=0, seed=7))
    assert torch.equal(both[1:], model.generate(row, 20, temperature=2.0, top_k=0, seed=8))
    assert not torch.equal(both[0], both[1])


def test_what_generate_gives_can_be_trained_on() -> None:
    model = tiny_model()
    out = model.generate(random_ids((1, 5), 300), 5)
    model(out[:, :-1], out[:, 1:])[1].backward()
    assert model.lm_head.weight.grad is not None


@pytest.mark.parametrize("training", [True, False])
def test_generate_leaves_the_mode_as_it_was_even_when_it_fails(training: bool) -> None:
    model = tiny_model(dropout=0.5).train(training)
    expected = tiny_model().generate(torch.tensor([[1]]), 9, temperature=0)
    assert torch.equal(model.generate(torch.tensor([[1]]), 9, temperature=0), expected)
    assert model.training is training
    with pytest.raises(IndexError):
        model.generate(torch.tensor([[300]]), 1)
    assert model.training is training


def test_generate_refuses_an_empty_prompt_and_settings_out_of_range() -> None:
    model = tiny_model()
    with pytest.raises(PromptError, match="prompt is empty"):
        model.generate(torch.zeros((1, 0), dtype=torch.int64), 1)
    with pytest.raises(SamplingError, match="temperature"):
        model.generate(torch.tensor([[1]]), 1, temperature=-1)


@pytest.mark.parametrize(("block_size", "kept"), [(1, 1), (2, 2), (3, 3), (4, 3), (256, 192)])
def test_three_quarters_of_a_full_context_stay(block_size: int, kept: int) -> None:
    assert kept_when_full(block_size) == kept
