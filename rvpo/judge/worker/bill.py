"""The bill of a call, which is due whether or not its reply is of use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from rvpo.config.judge import EndpointConfig
from rvpo.judge.worker.request import CHARACTERS_PER_TOKEN

_MOST_TOKENS: Final = 10**9  # of a call: a server that counts more counts wrong


@dataclass(frozen=True, slots=True)
class Bill:
    """Tokens of a call as the server counts them, and their price."""

    input_tokens: int
    """0 where the server does not say."""
    output_tokens: int
    """0 where the server does not say."""
    cost: float
    """US dollars. What the server does not count is estimated, rather too high than too low."""

    @classmethod
    def read(
        cls, body: bytes, prices: EndpointConfig, sent: int, written: str | None
    ) -> Self | None:
        """Read the bill from the body of a reply that was not read, of success or not; see `of`."""
        return cls.of(_usage(body), prices, sent, written)

    @classmethod
    def of(cls, usage: Any, prices: EndpointConfig, sent: int, written: str | None) -> Self | None:
        """The bill of a call.

        Args:
            usage: the server's own count.
            sent: characters of the request.
            written: text of its completion; None where there is none.

        Returns:
            None where there is neither a completion nor a count.
        """
        input_tokens = _count(usage, "prompt_tokens")
        output_tokens = _count(usage, "completion_tokens")
        if written is None and not (input_tokens or output_tokens):
            return None
        paid_in = input_tokens or sent / CHARACTERS_PER_TOKEN
        paid_out = output_tokens or len(written or "") / CHARACTERS_PER_TOKEN
        dollars = paid_in * (prices.input_price or 0.0) + paid_out * (prices.output_price or 0.0)
        return cls(input_tokens, output_tokens, dollars / 1e6)


def _usage(body: bytes) -> Any:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value.get("usage") if isinstance(value, Mapping) else None


def _count(usage: Any, name: str) -> int:
    value = usage.get(name) if isinstance(usage, Mapping) else None
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else 0  # a bool is no count
