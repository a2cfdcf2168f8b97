"""A model's tensors to the bytes of `model.safetensors` and back, in GPT-2's names and layout."""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes

from picogpt.errors import CheckpointError
from picogpt.model import GPT

WEIGHTS_FILE = "model.safetensors"
#: Linear layers that GPT-2's files hold as (in, out), where torch keeps (out, in).
_TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")


def weights_to_bytes(model: GPT, dtype: torch.dtype = torch.float16) -> bytes:
    """`model.safetensors` in GPT-2's names and layout, the tied head stored once.

    Raises:
        CheckpointError: a weight is not finite, or too large for `dtype`.
    """
    tensors = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        tensor = tensor.detach().to("cpu", dtype)
        if not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"The weights {name} hold values that are not finite numbers; nothing was saved. "
                "Train with a smaller learning rate."
            )
        tensors[name] = (tensor.t() if name.endswith(_TRANSPOSED) else tensor).contiguous()
    return tensors_to_bytes(tensors, metadata={"format": "pt"})


def load_weights(model: GPT, data: bytes, name: str) -> None:
    """Give `model` the tensors of a `model.safetensors` in float32, after checking each one.

    Raises:
        CheckpointError: unreadable, or a tensor is missing, unexpected, misshapen, not floating
            point or not finite.
    """
    try:
        stored = tensors_from_bytes(data)
    except SafetensorError as error:
        raise CheckpointError(
            f"{name}/{WEIGHTS_FILE} is damaged ({error}). Get it again."
        ) from error
    stored = {
        k if k.startswith("transformer.") else f"transformer.{k}": v
        for k, v in stored.items()
        if not k.endswith((".attn.bias", ".attn.masked_bias")) and k != "lm_head.weight"
    }
    state = {k: v for k, v in model.state_dict().items() if k != "lm_head.weight"}
    for kind, names in (
        ("lacks", state.keys() - stored.keys()),
        ("also holds", stored.keys() - state.keys()),
    ):
        if names:
            raise CheckpointError(
                f"{name}/{WEIGHTS_FILE} {kind} {min(names)!r}; it is not a GPT-2 of the "
                "shape in config.json."
            )
    for key, tensor in stored.items():
        tensor = tensor.t() if key.endswith(_TRANSPOSED) and tensor.dim() == 2 else tensor
        if tensor.shape != state[key].shape or not tensor.is_floating_point():
            raise CheckpointError(
                f"{name}/{WEIGHTS_FILE}: {key} is {str(tensor.dtype)[6:]} "
                f"{tuple(tensor.shape)}, expected floating point {tuple(state[key].shape)}."
            )
        stored[key] = tensor = tensor.float().contiguous()
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{name}/{WEIGHTS_FILE}: {key} holds non-finite values.")
    model.load_state_dict(stored, strict=False, assign=True)
    model.requires_grad_(True)
    model.lm_head.weight = model.transformer["wte"].weight  # assigning untied them
