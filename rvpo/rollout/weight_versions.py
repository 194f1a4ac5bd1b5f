"""Versions of the weights that made a completion, from vLLM's own account of them.

vLLM marks output tokens `[start, end)` with the version that was set when they were sampled, in
its `CompletionOutput` and in the reply of `/inference/v1/generate` alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from reprlib import Repr
from typing import Any, Final

from rvpo.errors import EngineError
from rvpo.types import Prompt

_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_SHOWN: Final = Repr()
_SHOWN.maxother = 200


def number(text: Any) -> int | None:
    """The version that an engine of one run names by its number; None for any other value."""
    return int(text) if isinstance(text, str) and _NUMBER.fullmatch(text) else None


def versions_of(
    prompt: Prompt,
    spans: Sequence[Any] | None,
    tokens: int,
    *,
    in_flight: bool,
    read: Callable[[Any], int | None] = number,
) -> tuple[int, tuple[int, ...]]:
    """`Sample.policy_version` and `Sample.versions` of a completion.

    Args:
        spans: vLLM's, each with `version`, `start` and `end`, by attribute or by key.
        tokens: number of its tokens.
        in_flight: weights may come while a sample is generated.
        read: the version of a span's name; None for a name that is of none.

    Raises:
        EngineError: the spans do not cover the tokens, each once and in order; or they name
            several versions and `in_flight` is false.
    """
    each: list[int] = []
    for span in spans or ():
        name, start, end = (_field(span, field) for field in ("version", "start", "end"))
        version = read(name)
        if version is None or start != len(each) or not _follows(start, end, tokens):
            break
        each += [version] * (end - start)
    if len(each) != tokens or not tokens:
        raise EngineError(
            f"vLLM does not say which weights made a completion of prompt {prompt.id!r} "
            f"({tokens} tokens, versions {_SHOWN.repr(spans)}), which cannot be trained on; "
            "use the version of vLLM that rvpo is made for, and continue with --resume"
        )
    oldest = min(each)
    if oldest == max(each):
        return oldest, ()
    if not in_flight:
        several = ", ".join(map(str, sorted(set(each))))
        raise EngineError(
            f"vLLM made a completion of prompt {prompt.id!r} with weights of several versions "
            f"({several}), which cannot be trained on; continue with --resume"
        )
    return oldest, tuple(each)


def _field(span: Any, name: str) -> Any:
    return span.get(name) if isinstance(span, Mapping) else getattr(span, name, None)


def _follows(start: Any, end: Any, most: int) -> bool:
    return isinstance(start, int) and isinstance(end, int) and start <= end <= most
