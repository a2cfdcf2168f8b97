"""Small real things for tests: a model, a tokenizer, a checkpoint folder. Fakes, not mocks."""

from __future__ import annotations

from pathlib import Path

import torch

from picogpt import GPT, BPETokenizer, CharTokenizer, GPTConfig, save_checkpoint
from picogpt.engine import Step
from picogpt.tokenizers import Tokenizer

TEXT = "the cat sat on the mat, and the dog sat by the door.\nHello there! naïve 你好 😀\n" * 4


def byte_tokenizer(vocab_size: int = 300) -> BPETokenizer:
    """A BPE tokenizer that knows all bytes, some merges and the four conversation tokens."""
    return BPETokenizer.train(TEXT, vocab_size)


def tiny_model(
    n_layer: int = 2,
    n_head: int = 2,
    n_embd: int = 16,
    block_size: int = 32,
    vocab_size: int = 300,
    dropout: float = 0.0,
    seed: int = 0,
) -> GPT:
    """A model in evaluation mode whose every weight matters: biases and norms are random too."""
    model = GPT(GPTConfig(n_layer, n_head, n_embd, block_size, vocab_size, dropout)).eval()
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            noise = torch.randn(weights.shape, generator=dice) * 0.3
            weights.copy_(noise + 1 if "ln_" in name and name.endswith("weight") else noise)
    return model


def tiny_checkpoint(folder: Path, meta: dict | None = None, seed: int = 0) -> Path:
    """A folder with `tiny_model` and `byte_tokenizer`; it can chat unless `meta` is given."""
    tokenizer = byte_tokenizer()
    model = tiny_model(vocab_size=tokenizer.vocab_size, seed=seed)
    return save_checkpoint(folder, model, tokenizer, {"chat": True} if meta is None else meta)


def random_ids(shape: tuple[int, ...], vocab_size: int, seed: int = 0) -> torch.Tensor:
    """Ids drawn evenly from the vocabulary, int64."""
    return torch.randint(vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def step(id: int) -> Step:
    """A step of a stream in which only the id matters."""
    return Step(id=id, prob=1.0, kept_prob=1.0, rank=0, entropy=0.0, u=0.5, position=0, seed=0)


def plain_model(tokenizer: Tokenizer, block_size: int = 64, seed: int = 0) -> GPT:
    """`tiny_model` that says printable ASCII only and, under top-k 20, never a special token."""
    model = tiny_model(block_size=block_size, vocab_size=tokenizer.vocab_size, seed=seed)
    with torch.no_grad():
        model.transformer["ln_f"].bias.fill_(1)
        for token in range(tokenizer.vocab_size):
            piece = tokenizer.token_bytes(token)
            special = token in tokenizer.special_tokens.values()
            if special or not all(32 <= byte < 127 for byte in piece):
                model.transformer["wte"].weight[token] = -1  # a logit of about -16
    return model


def chat_checkpoint(folder: Path, block_size: int = 64, **meta: object) -> Path:
    """A folder with a `plain_model` that can chat and talks until it is stopped."""
    tokenizer = byte_tokenizer()
    model = plain_model(tokenizer, block_size)
    return save_checkpoint(folder, model, tokenizer, {"chat": True, **meta}, "# A tiny model\n")


def char_checkpoint(folder: Path, block_size: int = 64) -> Path:
    """A folder with a model of characters: printable ASCII and the line end, no chat."""
    tokenizer = CharTokenizer.train("\n" + "".join(map(chr, range(32, 127))))
    return save_checkpoint(folder, plain_model(tokenizer, block_size), tokenizer, {"steps": 7})
