"""The route of a server: how it is addressed, and what its replies say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from yarl import URL

from rvpo.config.judge import EndpointConfig
from rvpo.judge.worker.reply import Reply, read_reply


@dataclass(frozen=True, slots=True)
class Route:
    """One of a server's routes."""

    path: str
    """Its path below the base address."""
    read: Callable[[bytes, Callable[[str], str]], Reply]
    """Reads the body of a reply of success; see `read_reply`."""
    reason: Callable[[str, str], str] = lambda reason, message: reason
    """Reason to count for a refusal that no other call mends, from its status and its words."""
    writes: bool = True
    """True where a reply is written by the model, token by token."""

    def url(self, config: EndpointConfig) -> URL:
        """Its address at an endpoint."""
        base = URL(config.url)
        return base.joinpath(*self.path.split("/")).with_query(base.query)  # Azure's version


CHAT: Final = Route("chat/completions", read_reply)
"""Chat completions, as OpenAI has them."""
