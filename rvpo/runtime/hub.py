"""Ids of the model hub, and a test whether it answers, light enough to precede its libraries."""

from __future__ import annotations

import os
import re
import threading
import urllib.error
import urllib.request

_PATIENCE_S = 3.0
_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def is_hub_id(text: str) -> bool:
    """True where a text has the form of a repository's id, such as openai/healthbench."""
    return _ID.fullmatch(text) is not None


def is_repository(name: str) -> bool:
    """True where a text names a repository `owner/name` of the Hub, and nothing on this machine."""
    return is_hub_id(name) and name.count("/") == 1 and not os.path.lexists(name)


def go_offline_without_hub() -> None:
    """Tell the hub's libraries to use what is cached, if the hub does not answer within seconds.

    Without this they try again for half a minute, for every file. They read the variable when
    they are imported, so this comes first.
    """
    if "HF_HUB_OFFLINE" not in os.environ and not hub_answers(_PATIENCE_S):
        os.environ["HF_HUB_OFFLINE"] = "1"


def hub_answers(patience_s: float) -> bool:
    """True where the hub sends any HTTP reply in time."""
    url = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    answered = threading.Event()
    # A thread, because looking a name up cannot be given a limit.
    arguments = (url, patience_s, answered)
    threading.Thread(target=_ask, args=arguments, daemon=True).start()
    return answered.wait(patience_s)


def _ask(url: str, patience_s: float, answered: threading.Event) -> None:
    request = urllib.request.Request(url, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=patience_s).close()
    except urllib.error.HTTPError as error:  # a reply too
        error.close()
    except (OSError, ValueError):
        return
    answered.set()
