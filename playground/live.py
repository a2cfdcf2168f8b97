"""Attention of streams that are being written, kept for the browser to fetch row by row.

Shapes: L layers, H heads, T tokens so far.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from playground.components.assets import pack_u8

KEPT = 60
"""Most traces held at a time; the oldest go first (2.6 MB each at 40 heads and 256 tokens)."""


class LiveTrace:
    """Tokens and attention rows of one stream; one thread adds, others read."""

    def __init__(self, key: str, n_layer: int, n_head: int) -> None:
        self.key, self.n_layer, self.n_head = key, n_layer, n_head
        self._lock = threading.Lock()
        self._tokens: list[str] = []
        self._rows: list[np.ndarray] = []
        self._live = True

    def add_prompt(self, tokens: Sequence[str], attention: Tensor) -> None:
        """Add all rows of a prompt: (L, H, T, T)."""
        rows = attention.numpy()
        with self._lock:
            self._tokens += list(tokens)
            self._rows += [rows[:, :, t, : t + 1].astype(np.float16) for t in range(rows.shape[2])]

    def add_row(self, token: str, attention: Tensor) -> None:
        """Add the row (L, H, T) of one more token, where T counts it."""
        with self._lock:
            if attention.shape[-1] == len(self._rows) + 1:
                self._tokens.append(token)
                self._rows.append(attention.numpy().astype(np.float16))

    def end(self) -> None:
        """No more rows will come."""
        with self._lock:
            self._live = False

    def payload(self, start: int = 0) -> dict | None:
        """Rows from number `start` on, as `heads_grid` takes them; None when nothing changed."""
        with self._lock:
            if start >= len(self._rows) and (self._live or start > len(self._rows)):
                return None
            rows = self._rows[start:]
            data = np.concatenate([r.ravel() for r in rows]) if rows else np.zeros(0)
            payload = {
                "key": self.key, "n_layer": self.n_layer, "n_head": self.n_head,
                "n": len(self._rows), "tokens": self._tokens[start:], "data": pack_u8(data),
                "live": self._live,
            }  # fmt: skip
        return payload if start == 0 else payload | {"from": start}


class LiveTraces:
    """The newest traces by key. Keys are random, so nobody reads another's conversation."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._traces: OrderedDict[str, LiveTrace] = OrderedDict()

    def begin(self, n_layer: int, n_head: int) -> LiveTrace:
        """A new trace under a new key."""
        trace = LiveTrace(secrets.token_urlsafe(12), n_layer, n_head)
        with self._lock:
            self._traces[trace.key] = trace
            while len(self._traces) > KEPT:
                self._traces.popitem(last=False)
        return trace

    def rows_since(self, key: str, rows: int) -> dict | None:
        """What the trace of `key` has beyond its first `rows` rows; None when nothing."""
        with self._lock:
            trace = self._traces.get(key)
        return trace.payload(rows) if trace is not None else None
