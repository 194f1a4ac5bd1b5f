"""The model of each server, compared with the run's before any weights are sent."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rvpo.errors import ConfigError
from rvpo.rollout.servers.command import Served, model_name
from rvpo.rollout.servers.http import Http, ServerError
from rvpo.rollout.servers.weights.roster import Fits

_ANSWER_S: Final = 30.0
_OF_FILES: Final = re.compile(r".+@[0-9a-f]{12}")
"""Names that `model_name` gives: others say nothing about files."""
_KEYLESS: Final = re.compile(r"with 40[13]\b")


class MisfitError(ServerError):
    """A server that answers and cannot generate for the run.

    Args:
        reason: words about it, and the way out.
    """

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason, "refused")


async def check_models(
    http: Http,
    urls: Sequence[str],
    served: Served,
    max_context_tokens: int,
    answer_s: float = _ANSWER_S,
) -> list[ServerError]:
    """Refuse servers of another model, as far as they say.

    Args:
        max_context_tokens: tokens of the run's longest prompt plus completion.
        answer_s: seconds that each has.

    Returns:
        Those that do not answer, and those whose answer says nothing of the model (`refused`).

    Raises:
        ConfigError: a server has another model, too small a context, or another key.
    """
    looks = [look_at(http, url, served, max_context_tokens, answer_s) for url in urls]
    unknown: list[ServerError] = []
    for found in await asyncio.gather(*looks, return_exceptions=True):
        if isinstance(found, MisfitError):
            raise ConfigError(f"rollout.engine.urls: {found.url} {found.reason}")
        if isinstance(found, ServerError):
            unknown.append(found)
        elif found is not None:
            raise found
    return unknown


async def look_at(
    http: Http, url: str, served: Served, max_context_tokens: int, answer_s: float = _ANSWER_S
) -> None:
    """Look at the model of one server.

    Raises:
        MisfitError: it cannot generate for the run.
        ServerError: nothing is known of its model.
    """
    try:
        reply = await http.ask("GET", url, "/v1/models", timeout_s=answer_s)
    except ServerError as error:
        if error.kind == "refused" and _KEYLESS.search(error.reason):
            raise MisfitError(
                url,
                "asks for another key; give rollout.engine.key_variable the variable that "
                f"`rvpo serve` was started with, with the same value (it {error.reason})",
            ) from None
        raise
    model = _base(reply)
    if model is None:
        raise ServerError(url, "answered /v1/models with no list of models", "refused")
    if words := misfit(model, served, max_context_tokens):
        raise MisfitError(url, words)
    if model["id"] != model_name(served):
        words = f"calls its model {model['id']!r}, which says nothing of its files"
        raise ServerError(url, words, "refused")


def fitting(http: Http, served: Served, max_context_tokens: int) -> Fits:
    """A look at servers that a run takes in: it raises MisfitError, and passes over those of which
    nothing is known."""

    async def fits(url: str) -> None:
        try:
            await look_at(http, url, served, max_context_tokens)
        except MisfitError:
            raise
        except ServerError:
            return

    return fits


def misfit(model: Mapping[str, Any], served: Served, max_context_tokens: int) -> str:
    """Reason that a server cannot generate for a run; empty where there is none.

    Args:
        model: an entry of the server's `/v1/models`.
    """
    theirs, ours = str(model.get("id", "")), model_name(served)
    told = _OF_FILES.fullmatch(theirs) and _OF_FILES.fullmatch(ours)
    if theirs != ours and told:
        return (
            f"has the model {theirs}, and model.path is {ours}: give both the same files, and the "
            "same model.lora"
        )
    if theirs != ours and served.adapter is not None:
        return (
            f"calls its model {theirs!r}, and adapters, which are added to a server's own weights, "
            f"are of {ours}: start it with `rvpo serve`, or by that name"
        )
    room = model.get("max_model_len")
    if isinstance(room, int) and room < max_context_tokens:
        return (
            f"has a context of {room} tokens, and the run's prompts and completions have up to "
            f"{max_context_tokens}; give both the same rollout.engine.max_context_tokens"
        )
    return ""


def _base(reply: Any) -> Mapping[str, Any] | None:
    """The model of a list of models that no adapter is of; None where it is no such list."""
    models = reply.get("data") if isinstance(reply, Mapping) else None
    for model in models if isinstance(models, list) else ():
        if not isinstance(model, Mapping) or not isinstance(model.get("id"), str):
            return None
        if model.get("parent") is None:
            return model
    return None
