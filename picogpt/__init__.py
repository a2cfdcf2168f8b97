"""A small GPT-2 from scratch: load it, talk to it, look inside it.

import picogpt
pico = picogpt.load("pico-chat")
print(pico.chat().reply("Hello!"))
"""

from picogpt.chat import ChatSession, Turn
from picogpt.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from picogpt.config import GPTConfig
from picogpt.engine import Engine, Step
from picogpt.errors import PicoGPTError
from picogpt.model import GPT, MLP, Block, CausalSelfAttention
from picogpt.pico import Pico, load
from picogpt.sampling import SamplingConfig
from picogpt.tokenizers import BPETokenizer, CharTokenizer, load_tokenizer

__all__ = [
    "GPT",
    "MLP",
    "BPETokenizer",
    "Block",
    "CausalSelfAttention",
    "CharTokenizer",
    "ChatSession",
    "Checkpoint",
    "Engine",
    "GPTConfig",
    "Pico",
    "PicoGPTError",
    "SamplingConfig",
    "Step",
    "Turn",
    "load",
    "load_checkpoint",
    "load_tokenizer",
    "save_checkpoint",
]
