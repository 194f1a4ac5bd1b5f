"""One look at servers before a run does any work, which waits for none of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final

from rvpo.rollout.servers.command import Served
from rvpo.rollout.servers.http import Http
from rvpo.rollout.servers.same_model import check_models

_LOOK_S: Final = 5.0


def first_look(
    urls: Sequence[str],
    key: str | None,
    served: Served,
    max_context_tokens: int,
    say: Callable[[str], None],
) -> None:
    """Refuse servers that answer and cannot generate for a run.

    Args:
        say: told in one line of those that do not answer yet.

    Raises:
        ConfigError: a server has another model, too small a context, or another key.
    """
    with closing(Http(key)) as http:
        unknown = http.run(check_models(http, urls, served, max_context_tokens, _LOOK_S))
    if missing := "; ".join(f"{e.url} {e.reason}" for e in unknown if e.kind != "refused"):
        say(
            "servers that do not answer yet are waited for, until distributed.patience_minutes "
            f"are over once training is ready: {missing}"
        )
