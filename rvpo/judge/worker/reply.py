"""The reply of a server: a completion, or the reason that there is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from rvpo.config.judge import EndpointConfig
from rvpo.judge.worker.finish import Finish
from rvpo.judge.worker.refusal import Failure, Refusal

_MOST_TOKENS: Final = 10**9  # of a call: a server that counts more counts wrong

Remedy = Literal["wait", "retry", "switch", "plain", "again", "resample", "none", "stop"]
"""Remedy after a failure: the endpoint's own pause, trying later, another endpoint, asking without
a schema, asking as the endpoint now prefers, another sample of the same model, or nothing: of a
question that cannot be answered, or of any."""


class CallFailed(Exception):
    """A call without a usable reply.

    Its text is the reason alone: of what the server said, only the detail may be shown.
    """

    def __init__(self, reason: str, remedy: Remedy, detail: str = "") -> None:
        super().__init__(reason)
        self.failure = Failure(reason, detail)
        self.remedy = remedy


class NotCompleted(Exception):
    """A reply of success that holds no completion, or one that failed: the server's bad minute.

    Its text is the reason, where the reply means no status that is one.
    """

    def __init__(self, reason: str, refusal: Refusal) -> None:
        super().__init__(reason)
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Reply to one call."""

    text: str
    cut: bool
    """True where it ended at the token limit."""
    model: str
    """Model that wrote it, as the server calls it; empty where it does not say."""
    input_tokens: int
    output_tokens: int
    cost: float
    """US dollars."""
    logprobs: Any = None
    """Log-probabilities of its tokens, as the server gives them."""

    @property
    def is_counted(self) -> bool:
        """True where the server says how many tokens it took."""
        return bool(self.input_tokens or self.output_tokens)


def read_reply(body: bytes, prices: EndpointConfig, detail: Callable[[str], str]) -> Reply:
    """Read the body of a reply of success.

    Args:
        detail: makes an excerpt of what the server wrote, fit to be shown.

    Raises:
        NotCompleted: it is no completion, or says that something failed.
        CallFailed: it is one that was filtered, or did not end as an answer does.
    """
    try:
        value = json.loads(body, object_pairs_hook=_once)
        (choice,) = value["choices"]
        message = choice["message"]
        text = _content(message.get("content"))
        usage = value.get("usage")
        failed = any(part.get("error") for part in (value, choice, message))
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        refusal = Refusal.read(body)
        status = refusal.status
        raise NotCompleted(f"http {status}" if status else "no completion", refusal) from None
    if failed or value.get("success") is False:
        raise NotCompleted("error in the reply", Refusal.read(body))
    if message.get("refusal"):
        raise CallFailed("refusal", "resample", detail(_content(message["refusal"])))
    finish = Finish.read(value, choice)
    reason = detail(finish.reason)
    if finish.failed:
        raise NotCompleted(reason, Refusal(text))
    if not finish.completed:
        raise CallFailed(reason, "resample", detail(text))
    input_tokens = count(usage, "prompt_tokens")
    output_tokens = count(usage, "completion_tokens")
    return Reply(
        text=text,
        cut=finish.cut,
        model=detail(model) if isinstance(model := value.get("model"), str) else "",
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost=cost_of(prices, input_tokens, output_tokens),
        logprobs=choice.get("logprobs"),
    )


def cost_of(prices: EndpointConfig, input_tokens: float, output_tokens: float) -> float:
    """US dollars of so many tokens; 0 for those without a price."""
    dollars = input_tokens * (prices.input_price or 0.0) + output_tokens * (
        prices.output_price or 0.0
    )
    return dollars / 1e6


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a reply; one that repeats a key could mean either value."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a repeated key")
    return found


def _content(value: Any) -> str:
    """The text of a message, whole or in parts; empty where there is none."""
    if isinstance(value, list):
        texts = (
            part.get("text")
            for part in value
            if isinstance(part, Mapping) and part.get("type") == "text"
        )
        return "".join(text for text in texts if isinstance(text, str))
    return value if isinstance(value, str) else ""


def count(usage: Any, name: str) -> int:
    value = usage.get(name) if isinstance(usage, Mapping) else None
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else 0  # a bool is no count
