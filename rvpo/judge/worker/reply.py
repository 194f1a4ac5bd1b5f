"""The reply of a server: a completion, or the reason that there is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rvpo.judge.worker.finish import Finish
from rvpo.judge.worker.refusal import Failure, Refusal

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
    logprobs: Any = None
    """Log-probabilities of its tokens, as the server gives them."""
    usage: Any = None
    """Tokens that it took, as the server counts them."""


def read_reply(body: bytes, detail: Callable[[str], str]) -> Reply:
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
    return Reply(
        text=text,
        cut=finish.cut,
        model=detail(model) if isinstance(model := value.get("model"), str) else "",
        logprobs=choice.get("logprobs"),
        usage=value.get("usage"),
    )


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
