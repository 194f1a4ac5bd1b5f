"""Versions of the weights that made a completion, from vLLM's own account of them.

vLLM marks output tokens `[start, end)` with the version that was set when they were sampled, in
its `CompletionOutput` and in the reply of `/inference/v1/generate` alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rvpo.errors import EngineError
from rvpo.types import Prompt


def versions_of(
    prompt: Prompt, spans: Sequence[Any] | None, tokens: int, *, in_flight: bool
) -> tuple[int, tuple[int, ...]]:
    """`Sample.policy_version` and `Sample.versions` of a completion.

    Args:
        spans: vLLM's, each with `version`, `start` and `end`, by attribute or by key.
        tokens: number of its tokens.
        in_flight: weights may come while a sample is generated.

    Raises:
        EngineError: the spans do not cover the tokens, each once and in order; or they name
            several versions and `in_flight` is false.
    """
    each: list[int] = []
    for span in spans or ():
        version, start, end = (_field(span, name) for name in ("version", "start", "end"))
        if not str(version).isdecimal() or start != len(each) or not _follows(start, end):
            break
        each += [int(version)] * (end - start)
    if len(each) != tokens or not tokens:
        raise EngineError(
            f"vLLM does not say which weights made a completion of prompt {prompt.id!r} "
            f"({tokens} tokens, versions {spans!r}), which cannot be trained on; use the version "
            "of vLLM that rvpo is made for, and continue with --resume"
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


def _follows(start: Any, end: Any) -> bool:
    return isinstance(start, int) and isinstance(end, int) and start <= end
