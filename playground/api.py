"""Named endpoints for `gradio_client`: everything after the first argument has a default.

from gradio_client import Client
client = Client("http://127.0.0.1:7860")
client.predict("Hello!", api_name="/chat")
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator

import gradio as gr

from picogpt.chat import Turn
from picogpt.errors import PicoGPTError, PromptError, RunError
from picogpt.pico import Pico
from playground.components.assets import pack_f32
from playground.errors import for_api
from playground.forms import sampling_form, text_form, train_form, whole_form
from playground.replies import chat_reply, completion
from playground.services import Services
from trainers.metrics import StepMetrics

ROLES = ("user", "assistant")


class Api:
    """The endpoints, as plain functions of the services.

    Raises:
        PicoGPTError: every endpoint, for a mistake in its arguments.
    """

    def __init__(self, services: Services) -> None:
        self.services = services

    def _pico(self, model: str) -> Pico:
        return self.services.models.get(model or self.services.first())

    def chat(
        self,
        message: str,
        history: list[dict] | None = None,
        model: str = "",
        temperature: float = 0.8,
        top_k: int = 20,
        top_p: float = 1.0,
        max_new_tokens: int = 100,
        seed: int | None = None,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
    ) -> Iterator[str]:
        """Answer a message; yields the reply as it grows, last the whole of it."""
        pico = self._pico(model)
        turns = _turns(history)
        sampling, tokens = sampling_form(
            pico.engine.config, temperature, top_k, top_p, min_p, repetition_penalty,
            max_new_tokens, seed,
        )  # fmt: skip
        turns.append(Turn("user", text_form(message, "The message")))
        for reply in chat_reply(pico, turns, sampling, tokens):
            yield reply.text

    def complete(
        self,
        prompt: str,
        model: str = "",
        temperature: float = 0.8,
        top_k: int = 20,
        top_p: float = 1.0,
        max_new_tokens: int = 100,
        seed: int | None = None,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
    ) -> str:
        """The text that follows a prompt."""
        pico = self._pico(model)
        sampling, tokens = sampling_form(
            pico.engine.config, temperature, top_k, top_p, min_p, repetition_penalty,
            max_new_tokens, seed,
        )  # fmt: skip
        text = ""
        for reply in completion(pico, text_form(prompt), sampling, tokens):
            text = reply.text
        return text

    def next_token(
        self,
        text: str,
        model: str = "",
        temperature: float = 0.8,
        top_k: int = 20,
        top_p: float = 1.0,
        min_p: float = 0.0,
        n: int = 12,
    ) -> list[dict]:
        """The n likeliest next tokens: id, text, probability before and after the filters."""
        from picogpt.sampling import filtered, probabilities

        pico = self._pico(model)
        sampling, _ = sampling_form(pico.engine.config, temperature, top_k, top_p, min_p)
        logits = pico.next_logits(text_form(text))
        before, after = probabilities(logits), probabilities(filtered(logits, sampling))
        best = before.topk(min(max(1, whole_form("n", n)), before.numel())).indices.tolist()
        return [
            {"id": i, "text": pico.tokenizer.token_text(i), "prob": float(before[i]),
             "kept_prob": float(after[i])}
            for i in best
        ]  # fmt: skip

    def attention(self, text: str, model: str = "") -> dict:
        """All attention weights over a text.

        Returns tokens, shape [L, H, T, T], and weights as base64 of little-endian float32.
        """
        pico = self._pico(model)
        ids = pico.encode_prompt(text_form(text))[-pico.engine.config.block_size :]
        weights = pico.engine.attention(ids).numpy()
        return {
            "tokens": [pico.tokenizer.token_text(i) for i in ids],
            "shape": list(weights.shape),
            "dtype": "float32",
            "weights": pack_f32(weights),
        }

    def tokenize(self, text: str, model: str = "") -> dict:
        """Ids and texts of the tokens of a text."""
        tokenizer = self._pico(model).tokenizer
        ids = tokenizer.encode(text_form(text))
        return {
            "ids": ids, "tokens": [tokenizer.token_text(i) for i in ids],
            "kind": tokenizer.kind, "vocab_size": tokenizer.vocab_size,
        }  # fmt: skip

    def models(self) -> list[dict]:
        """What models there are."""
        return [dataclasses.asdict(info) for info in self.services.models.infos()]

    def train(
        self,
        corpus: str = "stories",
        preset: str = "small",
        steps: int | None = None,
        batch_size: int | None = None,
        n_layer: int | None = None,
        n_head: int | None = None,
        n_embd: int | None = None,
        block_size: int | None = None,
        vocab_size: int | None = None,
        tokenizer: str = "",
        learning_rate: float | None = None,
        seed: int | None = None,
        eval_every: int | None = None,
        out: str = "",
    ) -> str:
        """Start a run; returns its name. None and "" take the preset's value."""
        config = train_form(
            preset, self.services.corpus(corpus), steps=steps, batch_size=batch_size,
            n_layer=n_layer, n_head=n_head, n_embd=n_embd, block_size=block_size,
            vocab_size=vocab_size, tokenizer=tokenizer, muon_lr=learning_rate, seed=seed,
            eval_every=eval_every, out=out,
        )  # fmt: skip
        return self.services.runs.start(config).name

    def train_status(self, run: str = "", since: int = 0) -> dict:
        """A run's state and its reports from number `since` on; without a name, the latest."""
        found = self.services.runs.get(str(run)) if run else self.services.runs.latest()
        if found is None:
            raise RunError(f"There is no run {run!r} here. Start one first.")
        snapshot = found.snapshot(whole_form("since", since))
        reports: list[StepMetrics] = snapshot["reports"]
        return snapshot | {"reports": [dataclasses.asdict(report) for report in reports]}

    def train_stop(self, run: str = "") -> dict:
        """Ask a run to score, save and end; returns its state."""
        found = self.services.runs.get(str(run)) if run else self.services.runs.active()
        if found is None:
            raise RunError(f"There is no run {run!r} to stop." if run else "No run is active.")
        found.stop()
        return {"name": found.name, "state": found.state}


def _turns(history: object) -> list[Turn]:
    """The turns of a history; None is an empty one.

    Raises:
        PromptError: it is no list of messages.
    """
    if history is not None and not isinstance(history, list):
        raise PromptError("history is a list of {role, content}. Send such a list, or none.")
    return [_turn(entry) for entry in history or []]


def _turn(entry: dict) -> Turn:
    """A message of a history, as Gradio and OpenAI write it.

    Raises:
        PromptError: it has no known role, or no text.
    """
    if not isinstance(entry, dict) or entry.get("role") not in ROLES:
        raise PromptError(
            "history is a list of {role, content} with role user or assistant; "
            f"{str(entry)[:80]} is not. Send such a list."
        )
    content = entry.get("content")
    if isinstance(content, list) and content and isinstance(content[0], dict):
        content = content[0].get("text")
    if not isinstance(content, str):
        raise PromptError("The content of every message in history is a text. Send strings.")
    return Turn(entry["role"], content)


def add_api(services: Services) -> None:
    """Register the endpoints in the Blocks that is being built."""
    api = Api(services)
    names = ("complete", "next_token", "attention", "tokenize", "models", "train",
             "train_status", "train_stop")  # fmt: skip
    for name in names:
        gr.api(for_api(getattr(api, name)), api_name=name)
    gr.api(_streamed(api.chat), api_name="chat")


def _streamed(function: Callable[..., Iterator[str]]) -> Callable[..., Iterator[str]]:
    """`for_api` for a generator, whose errors come while it runs."""

    @functools.wraps(function)
    def wrapped(*args: object, **kwargs: object) -> Iterator[str]:
        try:
            yield from function(*args, **kwargs)
        except PicoGPTError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return wrapped
