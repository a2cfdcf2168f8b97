"""What every test may rely on: no network, no telemetry, and the fakes as fixtures."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
from hypothesis import settings

from picogpt import GPT, BPETokenizer
from tests import fakes

settings.register_profile("pico", deadline=None)
settings.load_profile("pico")


@pytest.fixture(scope="session")
def tokenizer() -> BPETokenizer:
    """256 bytes, a few merges and the four conversation tokens."""
    return fakes.byte_tokenizer()


@pytest.fixture
def model(tokenizer: BPETokenizer) -> GPT:
    """A tiny model with lively weights, one id for each of the tokenizer's."""
    return fakes.tiny_model(vocab_size=tokenizer.vocab_size)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny checkpoint folder named `tiny`, under an empty folder of its own."""
    return fakes.tiny_checkpoint(tmp_path / "tiny")


@pytest.fixture
def foreign(folder: Path) -> Path:
    """A folder without a manifest, as from somebody else."""
    (folder / "pico.json").unlink()
    return folder
