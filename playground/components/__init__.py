"""Our own widgets: one factory each, with its .js and .css beside it; payloads are plain JSON."""

from playground.components.heads_grid import heads_grid, heads_payload, pack_rows
from playground.components.loss_curve import loss_curve, loss_payload, loss_points
from playground.components.next_token_bars import bars_payload, next_token_bars, sampling_js
from playground.components.note import note
from playground.components.reply_tokens import reply_payload, reply_tokens
from playground.components.run_chip import run_chip
from playground.components.token_view import token_column, token_view

__all__ = [
    "bars_payload",
    "heads_grid",
    "heads_payload",
    "loss_curve",
    "loss_payload",
    "loss_points",
    "next_token_bars",
    "note",
    "pack_rows",
    "reply_payload",
    "reply_tokens",
    "run_chip",
    "sampling_js",
    "token_column",
    "token_view",
]
