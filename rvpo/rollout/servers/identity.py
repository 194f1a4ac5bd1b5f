"""The things that a server says of itself, believed in nothing that can be checked."""

from __future__ import annotations

from collections.abc import Callable
from reprlib import Repr
from typing import Any, Final

from rvpo.rollout.servers.http import Http, ServerError

_MOST_WORKERS: Final = 1024
"""More than one server has: a group that waits for so many never comes together."""
_SHOWN: Final = Repr()
_SHOWN.maxstring = _SHOWN.maxother = 10_000  # what holds the key is cut by `Http.told` alone


async def vllm_version(http: Http, url: str, seconds: float) -> str:
    """vLLM's version.

    Raises:
        ServerError: it does not answer, or not with a text.
    """
    found: str = await _field(http, url, "/version", "version", _is_text, seconds)
    return found


async def worker_count(http: Http, url: str, seconds: float) -> int:
    """The processes of a server, each of which takes weights.

    Raises:
        ServerError: it does not answer, or not with a number that can be.
    """
    found: int = await _field(http, url, "/get_world_size", "world_size", _is_count, seconds)
    return found


async def weight_version(http: Http, url: str, seconds: float) -> str:
    """The version that a server says its weights are.

    Raises:
        ServerError: it does not answer, or not with a text.
    """
    found: str = await _field(http, url, "/weight_info", "weight_version", _is_text, seconds)
    return found


async def _field(
    http: Http, url: str, route: str, name: str, is_right: Callable[[Any], bool], seconds: float
) -> Any:
    answer = await http.ask("GET", url, route, timeout_s=seconds)
    found = answer.get(name) if isinstance(answer, dict) else None
    if not is_right(found):
        words = (
            f"answered {route} with {_SHOWN.repr(answer)}, and is no vLLM server of version 0.32"
        )
        raise ServerError(url, http.told(words), "failed")
    return found


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= _MOST_WORKERS
