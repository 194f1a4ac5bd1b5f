"""The model of each server, compared with the run's before any weights are sent."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rvpo.errors import ConfigError
from rvpo.rollout.servers.command import Served, model_name
from rvpo.rollout.servers.http import Http, ServerError

_ANSWER_S: Final = 30.0
_OF_FILES: Final = re.compile(r".+@[0-9a-f]{12}")
"""Names that `model_name` gives: others say nothing about files."""


async def check_models(
    http: Http, urls: Sequence[str], served: Served, max_context_tokens: int
) -> None:
    """Refuse servers of another model, as far as they say. Those that do not answer are passed
    over: whether they are there is asked elsewhere.

    Args:
        max_context_tokens: tokens of the run's longest prompt plus completion.

    Raises:
        ConfigError: a server has another model, too small a context, or another key.
    """
    found = await asyncio.gather(*(_said(http, url) for url in urls))
    for url, said in zip(urls, found, strict=True):
        words = said if isinstance(said, str) else misfit(said, served, max_context_tokens)
        if words:
            raise ConfigError(f"rollout.engine.urls: {url} {words}")


def misfit(model: Mapping[str, Any], served: Served, max_context_tokens: int) -> str:
    """Reason that a server cannot generate for a run; empty where there is none.

    Args:
        model: an entry of the server's `/v1/models`.
    """
    theirs, ours = str(model.get("id", "")), model_name(served)
    if theirs != ours and _OF_FILES.fullmatch(theirs) and _OF_FILES.fullmatch(ours):
        return (
            f"has the model {theirs}, and model.path is {ours}: give both the same files, and the "
            "same model.lora"
        )
    room = model.get("max_model_len")
    if isinstance(room, int) and room < max_context_tokens:
        return (
            f"has a context of {room} tokens, and the run's prompts and completions have up to "
            f"{max_context_tokens}; give both the same rollout.engine.max_context_tokens"
        )
    return ""


async def _said(http: Http, url: str) -> Mapping[str, Any] | str:
    """The model that a server says it has, as far as it says; the reason where it has another
    key."""
    try:
        reply = await http.ask("GET", url, "/v1/models", timeout_s=_ANSWER_S)
        model = reply["data"][0]
        return model if isinstance(model, Mapping) else {}
    except ServerError as error:
        if error.kind == "refused" and "with 401" in error.reason:
            return (
                "asks for another key; give rollout.engine.key_variable the variable that "
                "`rvpo serve` was started with, with the same value"
            )
    except (LookupError, TypeError):  # not vLLM's words
        pass
    return {}
