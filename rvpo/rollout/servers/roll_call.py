"""Servers waited for at the start of a run: jobs that start them may begin at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from rvpo.errors import EngineError
from rvpo.rollout.servers.http import Http, ServerError
from rvpo.runtime.ignore import ignore

_STRAGGLE_S: Final = 60.0
"""Seconds for the others once as many are there as the run needs."""
_LOOK_S: Final = 0.5
_SAY_S: Final = 30.0


async def roll_call(
    http: Http,
    urls: Sequence[str],
    least: int,
    patience_s: float,
    say: Callable[[str], None] = ignore,
    straggle_s: float = _STRAGGLE_S,
) -> None:
    """Wait until all servers answer; for those beyond `least` not long.

    Args:
        patience_s: seconds for the first `least`.
        say: told of those that are waited for long, and of those that did not come.

    Raises:
        EngineError: fewer than `least` came; with the last words of the others.
    """
    loop = asyncio.get_running_loop()
    waiting = dict.fromkeys(urls, "did not answer")
    begun, said_at, enough_at = loop.time(), loop.time(), None
    while True:
        answers = await asyncio.gather(*(_words(http, url, patience_s) for url in waiting))
        waiting = {u: words for u, words in zip(waiting, answers, strict=True) if words}
        now, there = loop.time(), len(urls) - len(waiting)
        if not waiting:
            return
        missing = "; ".join(f"{url} {words}" for url, words in waiting.items())
        if there >= least:
            enough_at = now if enough_at is None else enough_at
            if now - enough_at >= straggle_s:
                say(f"going on with {there} of {len(urls)} servers: {missing}")
                return
        elif now - begun >= patience_s:
            raise EngineError(
                f"{there} of {len(urls)} servers answered within {patience_s / 60:g} minutes, and "
                f"rollout.engine.least is {least}: {missing}; start them with `rvpo serve`, and "
                "see that this machine reaches them"
            )
        if now - said_at >= _SAY_S:
            say(f"waiting for servers: {missing}")
            said_at = now
        await asyncio.sleep(_LOOK_S)


async def _words(http: Http, url: str, patience_s: float) -> str:
    """Reason that a server is not there; empty where it is."""
    try:
        await http.ask("GET", url, "/health", timeout_s=min(patience_s, _SAY_S))
    except ServerError as error:
        return error.reason
    return ""
