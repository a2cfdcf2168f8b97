"""The engine: what a stream of steps promises."""

from __future__ import annotations

import math
import threading

import pytest
import torch

from picogpt import GPT, Engine, SamplingConfig, Step
from picogpt.errors import ConfigError, PromptError
from picogpt.sampling import choose, filtered, new_dice, pick, probabilities
from tests.fakes import random_ids, tiny_model

GREEDY = SamplingConfig(temperature=0)
LIVELY = SamplingConfig(temperature=1.5, top_k=50, top_p=0.95, seed=3)


def ids_of(steps: list[Step]) -> list[int]:
    return [step.id for step in steps]


def slow_stream(model: GPT, ids: list[int], sampling: SamplingConfig, n: int) -> list[int]:
    """What `Engine.stream` promises, without a cache: the whole view is read at every token."""
    block, dice = model.config.block_size, new_dice(sampling)
    ids, view = list(ids), list(ids[-block:])
    for _ in range(n):
        if len(view) > block:
            view = ids[-(block - block // 4) :]
        with torch.no_grad():
            row = model(torch.tensor([view]))[0, -1]
        id = choose(row, sampling, dice, view).id
        ids.append(id)
        view.append(id)
    return ids


@pytest.mark.parametrize("sampling", [GREEDY, LIVELY, SamplingConfig(seed=1, repetition_penalty=2)])
@pytest.mark.parametrize("prompt", [1, 15, 16, 17, 40])
def test_a_stream_equals_a_loop_without_a_cache(sampling: SamplingConfig, prompt: int) -> None:
    model, ids = tiny_model(block_size=16), random_ids((prompt,), 300).tolist()
    steps = list(Engine(model).stream(ids, sampling, max_new_tokens=30))
    assert ids + ids_of(steps) == slow_stream(model, ids, sampling, 30)


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_a_stream_equals_gpt_generate(temperature: float) -> None:
    model, idx = tiny_model(block_size=16), random_ids((1, 5), 300)
    sampling = SamplingConfig(temperature=temperature, top_k=30, top_p=0.9, seed=4)
    steps = list(Engine(model).stream(idx[0].tolist(), sampling, max_new_tokens=30))
    out = model.generate(idx, 30, temperature=temperature, top_k=30, top_p=0.9, seed=4)
    assert out[0, 5:].tolist() == ids_of(steps)


def test_a_step_says_why_its_token_was_chosen() -> None:
    model = tiny_model()
    for step in Engine(model).stream([5, 6, 7], LIVELY, 10, logits=True):
        probs = probabilities(step.logits)
        kept = probabilities(filtered(step.logits, LIVELY))
        assert step.u is not None and pick(kept, step.u) == step.id
        assert step.prob == probs[step.id].item() and step.kept_prob == kept[step.id].item()
        assert step.rank == sum(p > step.prob for p in probs.tolist())
        bits = -sum(p * math.log2(p) for p in probs.tolist() if p)
        assert step.entropy == pytest.approx(bits, abs=1e-4)
        best = sorted(range(300), key=lambda i: -probs[i].item())[:8]
        assert [a.id for a in step.alternatives] == best
        assert [a.prob for a in step.alternatives] == [probs[i].item() for i in best]
        assert [a.kept_prob for a in step.alternatives] == [kept[i].item() for i in best]


def test_positions_and_the_seed_are_counted_through_the_stream() -> None:
    steps = list(Engine(tiny_model()).stream([5, 6, 7], LIVELY, 4))
    assert [step.position for step in steps] == [3, 4, 5, 6]
    assert {step.seed for step in steps} == {3}


def test_greedy_steps_draw_nothing_and_take_the_likeliest() -> None:
    for step in Engine(tiny_model()).stream([1], GREEDY, 5):
        assert (step.u, step.rank, step.kept_prob) == (None, 0, 1.0)
        assert step.alternatives[0].id == step.id


@pytest.mark.parametrize(("asked", "given"), [(0, 0), (1, 1), (300, 300), (999, 300)])
def test_as_many_alternatives_as_asked_or_as_there_are(asked: int, given: int) -> None:
    (step,) = Engine(tiny_model()).stream([1], GREEDY, 1, alternatives=asked)
    assert len(step.alternatives) == given


def test_an_undecided_model_has_the_entropy_of_its_vocabulary() -> None:
    model = tiny_model(vocab_size=256)
    torch.nn.init.zeros_(model.lm_head.weight)
    (step,) = Engine(model).stream([1], GREEDY, 1)
    assert step.entropy == pytest.approx(8) and step.rank == 0 and step.id == 0


# --- seeds ------------------------------------------------------------------------------------


def test_equal_seeds_give_equal_streams_even_when_they_run_interleaved() -> None:
    engine = Engine(tiny_model())
    alone = ids_of(list(engine.stream([1, 2], LIVELY, 12)))
    one, two = engine.stream([1, 2], LIVELY, 12), engine.stream([9], LIVELY, 12)
    together = [(a.id, b.id) for a, b in zip(one, two, strict=True)]
    assert [a for a, _ in together] == alone
    other = SamplingConfig(temperature=1.5, top_k=50, top_p=0.95, seed=4)
    assert ids_of(list(engine.stream([1, 2], other, 12))) != alone


def test_an_unseeded_stream_tells_the_seed_that_repeats_it() -> None:
    engine = Engine(tiny_model())
    steps = list(engine.stream([1], SamplingConfig(temperature=2.0), 8))
    again = SamplingConfig(temperature=2.0, seed=steps[0].seed)
    assert ids_of(list(engine.stream([1], again, 8))) == ids_of(steps)


def test_streams_in_threads_do_not_disturb_each_other() -> None:
    engine = Engine(tiny_model())
    configs = [SamplingConfig(temperature=1.5, seed=seed) for seed in range(4)]
    results: dict[int, list[int]] = {}

    def run(place: int) -> None:
        results[place] = ids_of(list(engine.stream([place], configs[place], 20)))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, config in enumerate(configs):
        assert results[i] == ids_of(list(engine.stream([i], config, 20)))


# --- ends -------------------------------------------------------------------------------------


def test_a_stop_id_is_the_last_step() -> None:
    engine = Engine(tiny_model())
    whole = ids_of(list(engine.stream([1], LIVELY, 20)))
    end = whole[7]
    assert (
        ids_of(list(engine.stream([1], LIVELY, 20, stop_ids=[end])))
        == whole[: whole.index(end) + 1]
    )


def test_a_set_event_ends_the_stream_before_another_token() -> None:
    stop = threading.Event()
    steps = Engine(tiny_model()).stream([1], LIVELY, 50, stop=stop)
    next(steps), next(steps)
    stop.set()
    assert list(steps) == []


def test_an_event_set_beforehand_gives_no_token() -> None:
    stop = threading.Event()
    stop.set()
    assert list(Engine(tiny_model()).stream([1], LIVELY, 50, stop=stop)) == []


def test_no_tokens_asked_for_none_given() -> None:
    assert list(Engine(tiny_model()).stream([1], LIVELY, max_new_tokens=0)) == []


# --- the end of the context -------------------------------------------------------------------


@pytest.mark.parametrize("attention", [False, True])
def test_a_full_context_keeps_its_newest_three_quarters(attention: bool) -> None:
    steps = list(Engine(tiny_model(block_size=8)).stream([1, 2], GREEDY, 14, attention=attention))
    # 2 to 8 tokens in view, then at 9 the newest 6; 6 to 8, then at 12 the newest 6, and so on.
    assert [step.dropped for step in steps] == [0] * 7 + [3] * 3 + [6] * 3 + [9]
    if attention:
        seen = [step.attention.shape[-1] for step in steps]
        assert seen == [2, 3, 4, 5, 6, 7, 8, 6, 7, 8, 6, 7, 8, 6]
        assert seen == [step.position - step.dropped for step in steps]


def test_an_overlong_prompt_keeps_its_newest_block() -> None:
    engine, ids = Engine(tiny_model(block_size=8)), random_ids((30,), 300).tolist()
    (long,) = engine.stream(ids, GREEDY, 1, logits=True)
    (short,) = engine.stream(ids[-8:], GREEDY, 1, logits=True)
    assert torch.equal(long.logits, short.logits)
    assert (long.dropped, long.position) == (22, 30)
    assert torch.equal(engine.next_logits(ids), short.logits)
    assert torch.equal(engine.attention(ids), engine.attention(ids[-8:]))


def test_the_repetition_penalty_forgets_what_is_out_of_view() -> None:
    engine = Engine(tiny_model(block_size=8))
    sampling = SamplingConfig(temperature=0, repetition_penalty=10)
    one = list(engine.stream([7] * 20 + list(range(8)), sampling, 1))
    assert ids_of(one) == ids_of(list(engine.stream(list(range(8)), sampling, 1)))


# --- looking inside ---------------------------------------------------------------------------


def test_attention_rows_sum_to_1_and_look_only_back() -> None:
    weights = Engine(tiny_model()).attention([1, 2, 3, 4, 5])
    assert weights.shape == (2, 2, 5, 5) and weights.dtype == torch.float32
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 5))
    assert weights.triu(1).abs().max() == 0


def test_a_steps_attention_is_the_last_row_of_the_whole() -> None:
    engine, ids = Engine(tiny_model()), [1, 2, 3]
    for step in engine.stream(ids, LIVELY, 12, attention=True):
        torch.testing.assert_close(step.attention, engine.attention(ids)[:, :, -1])
        ids.append(step.id)


def test_looking_changes_nothing() -> None:
    engine = Engine(tiny_model())
    plain = list(engine.stream([1, 2], LIVELY, 12, logits=True))
    looked = list(engine.stream([1, 2], LIVELY, 12, logits=True, attention=True))
    assert ids_of(plain) == ids_of(looked)
    for a, b in zip(plain, looked, strict=True):
        torch.testing.assert_close(a.logits, b.logits, atol=1e-4, rtol=0)
    assert plain[0].attention is None


def test_next_logits_are_those_of_the_model() -> None:
    model = tiny_model()
    with torch.no_grad():
        expected = model(torch.tensor([[1, 2, 3]]))[0, -1]
    torch.testing.assert_close(Engine(model).next_logits([1, 2, 3]), expected)


def test_what_the_engine_hands_out_may_be_changed_and_trained_on() -> None:
    engine = Engine(tiny_model())
    (step,) = engine.stream([1, 2], GREEDY, 1, logits=True, attention=True)
    for tensor in (engine.next_logits([1]), engine.attention([1]), step.logits, step.attention):
        tensor[..., 0] = 0
        assert not tensor.is_inference() and not tensor.requires_grad


def test_a_half_precision_model_gives_float32_to_its_readers() -> None:
    engine = Engine(tiny_model().to(torch.bfloat16))
    (step,) = engine.stream([1, 2], GREEDY, 1, logits=True, attention=True)
    assert step.logits.dtype == step.attention.dtype == torch.float32
    assert engine.next_logits([1]).dtype == engine.attention([1]).dtype == torch.float32


def test_the_engine_leaves_weights_alone_and_ignores_dropout() -> None:
    model = tiny_model(dropout=0.5).train()
    before = {name: weights.clone() for name, weights in model.named_parameters()}
    steps = list(Engine(model).stream([1], GREEDY, 9))
    assert ids_of(steps) == ids_of(list(Engine(tiny_model()).stream([1], GREEDY, 9)))
    for name, weights in model.named_parameters():
        assert torch.equal(weights, before[name]) and weights.grad is None


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "reason"),
    [([], "prompt is empty"), ([300], "0 to 299; the prompt holds 300"), ([1, -1], "holds -1")],
)
def test_unusable_ids_are_refused_at_once(ids: list[int], reason: str) -> None:
    engine = Engine(tiny_model())
    for ask in (engine.stream, engine.next_logits, engine.attention):
        with pytest.raises(PromptError, match=reason):
            ask(ids)


@pytest.mark.parametrize("value", [-1, 2.5, math.nan, "3"])
def test_a_number_of_tokens_that_is_none_is_refused_at_once(value: object) -> None:
    with pytest.raises(PromptError, match="max_new_tokens is a whole number of at least 0"):
        Engine(tiny_model()).stream([1], GREEDY, value)


def test_unknown_weights_are_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"auto, float32.*'int3'"):
        Engine(tiny_model(), weights="int3")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_engine_agrees_with_the_cpu() -> None:
    ids = random_ids((40,), 300).tolist()
    cpu, cuda = Engine(tiny_model()), Engine(tiny_model().cuda())
    torch.testing.assert_close(cuda.next_logits(ids), cpu.next_logits(ids), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(cuda.attention(ids), cpu.attention(ids), atol=1e-4, rtol=1e-4)
    (step,) = cuda.stream(ids, LIVELY, 1, logits=True, attention=True)
    (same,) = cpu.stream(ids, LIVELY, 1, logits=True, attention=True)
    assert step.id == same.id and step.logits.device.type == step.attention.device.type == "cpu"
