"""A server's reply to the request for one sample, believed in nothing that can be checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ValidationError

from rvpo.errors import EngineError
from rvpo.rollout.servers.http import ServerError
from rvpo.rollout.servers.version_label import RunLabel
from rvpo.rollout.supports import Supports, told_supports
from rvpo.rollout.vllm.request import request_words
from rvpo.rollout.weight_versions import versions_of
from rvpo.sampling import Sampling
from rvpo.types import Prompt

_NONE: Final = -9999.0
"""The log-probability that vLLM writes where it has none."""
_ROUNDING: Final = 1e-3
"""The most by which rounding may lift a log-probability above 0."""


class _Likely(BaseModel):
    token_id: int
    logprob: float


class _Token(_Likely):
    top_logprobs: list[_Likely] = []


class _Logprobs(BaseModel):
    content: list[_Token]


class _Choice(BaseModel):
    index: int
    finish_reason: str | None
    stop_reason: int | str | None = None
    token_ids: list[int]
    logprobs: _Logprobs
    weight_versions: list[dict[str, Any]] | None


class _Reply(BaseModel):
    choices: list[_Choice]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRequest:
    """The request for one sample."""

    row: int
    """Its row in the rollout."""
    prompt: Prompt
    prompt_ids: tuple[int, ...]
    seed: int
    drawn: Sampling
    """Way in which it is drawn."""
    stop_ids: tuple[int, ...]
    vocabulary: int
    """See `Encoder.vocabulary`."""
    thought_tokens: int | None = None
    """The most of a thought; None where there is no limit."""
    told_tokens: int = 0
    """Tokens to be told of at each place beside the drawn one; see `rollout.supports`."""

    @property
    def max_tokens(self) -> int:
        """Tokens after which it is cut off."""
        return self.drawn.max_completion_tokens

    def tokens(self, siblings: int) -> int:
        """Tokens that it may take to compute, with its share of a prompt of so many samples."""
        return self.max_tokens + len(self.prompt_ids) // siblings

    @property
    def sampling(self) -> dict[str, Any]:
        """The sampling that is asked for, in vLLM's words. Nothing is left to a server, which
        would take it from the files of its model."""
        budget = self.thought_tokens
        return {
            "n": 1,
            **request_words(self.drawn),
            "logprobs": self.told_tokens,
            "seed": self.seed,
            "stop_token_ids": list(self.stop_ids),
            **({} if budget is None else {"thinking_token_budget": budget}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledTokens:
    """A completion as a server sampled it."""

    token_ids: tuple[int, ...]  # [T]
    logprobs: tuple[float, ...]  # [T]
    finish_reason: Literal["stop", "length"]
    versions: tuple[int, tuple[int, ...]]
    """Result of `versions_of`."""
    supports: Supports | None = None


def read_reply(
    text: bytes,
    url: str,
    request: SampleRequest,
    versions: range,
    label: RunLabel,
    told: Callable[[str], str],
) -> SampledTokens:
    """The completion in a reply.

    Args:
        versions: those of the weights that may have made it; several where weights come meanwhile.
        label: reads their names.
        told: makes one line of a server's words.

    Raises:
        ServerError: it is not what was asked for; `stale` where other weights made it.
    """
    try:
        choices = _Reply.model_validate_json(text).choices
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        words = f"answered with what cannot be read ({place}: {first['msg']})"
        raise ServerError(url, told(words), "failed") from None
    if len(choices) != 1 or choices[0].index != 0:
        raise ServerError(url, f"answered with {len(choices)} completions for one", "failed")
    (choice,) = choices
    ids, content = choice.token_ids, choice.logprobs.content
    if problem := _problem(choice, request):
        raise ServerError(url, told(f"answered with {problem}"), "failed")
    return SampledTokens(
        token_ids=tuple(ids),
        logprobs=tuple(each.logprob for each in content),
        finish_reason="stop" if choice.finish_reason == "stop" else "length",
        versions=_versions(choice, url, request, versions, label, told),
        supports=_supports(content, url, told) if request.told_tokens else None,
    )


def _supports(content: Sequence[_Token], url: str, told: Callable[[str], str]) -> Supports:
    """
    Raises:
        ServerError: the tokens that it tells of are not all that could be drawn.
    """
    places = [[each, *each.top_logprobs] for each in content]
    try:
        return told_supports(([t.token_id for t in p], [t.logprob for t in p]) for p in places)
    except EngineError as error:
        raise ServerError(url, told(f"answered so that {error}"), "failed") from None


def _problem(choice: _Choice, request: SampleRequest) -> str:
    """Reason that a completion cannot be one that was asked for; empty where it may be."""
    ids, reason = choice.token_ids, choice.finish_reason
    content = choice.logprobs.content
    if reason not in ("stop", "length"):
        return f"a completion that ended with {reason!r} instead of being finished"
    others = [each.token_id for token in content for each in token.top_logprobs]
    for token in (*ids, *others):
        if not 0 <= token < request.vocabulary:
            return f"token {token}, where the model has {request.vocabulary} tokens, from 0"
    if [each.token_id for each in content] != ids:
        return f"{len(ids)} tokens and log-probabilities of {len(content)} that are not the same"
    for each in content:
        logprob = each.logprob
        if not (math.isfinite(logprob) and _NONE < logprob <= _ROUNDING):
            return f"{logprob} for the log-probability of a token"
    if reason == "stop" and choice.stop_reason in request.drawn.stop:
        return _length(ids, request)
    return _length(ids, request) or _end(ids, reason == "stop", request)


def _length(ids: Sequence[int], request: SampleRequest) -> str:
    if not ids or len(ids) > request.max_tokens:
        return f"{len(ids)} tokens where 1 to {request.max_tokens} were asked for"
    return ""


def _end(ids: Sequence[int], is_stopped: bool, request: SampleRequest) -> str:
    """Reason that a completion cannot have ended where it did."""
    ends = [place for place, token in enumerate(ids) if token in request.stop_ids]
    if is_stopped and ends != [len(ids) - 1]:
        return "a completion that stopped, and not at its one end token"
    if not is_stopped and (ends or len(ids) < request.max_tokens):
        return (
            f"a completion that was cut off after {len(ids)} of {request.max_tokens} tokens; the "
            "server may have a smaller context"
        )
    return ""


def _versions(
    choice: _Choice,
    url: str,
    request: SampleRequest,
    allowed: range,
    label: RunLabel,
    told: Callable[[str], str],
) -> tuple[int, tuple[int, ...]]:
    spans, tokens = choice.weight_versions, len(choice.token_ids)
    for span in spans or ():
        version = span.get("version")
        if isinstance(version, str) and label.is_foreign(version):
            raise ServerError(url, f"answered with weights of {label.told(version)}", "stale")
    try:
        found = versions_of(
            request.prompt, spans, tokens, in_flight=len(allowed) > 1, read=label.read
        )
    except EngineError as error:
        raise ServerError(url, told(str(error)), "stale") from None
    for version in (found[0], max(found[1], default=found[0])):
        if version not in allowed:
            raise ServerError(
                url,
                f"answered with weights of version {version} where {allowed[-1]} is the newest "
                f"and {allowed[0]} the oldest that may be",
                "stale",
            )
    return found
