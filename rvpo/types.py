"""The values that flow through one training step, each frozen once made.

Shape letters, used in every docstring and tensor comment of the package:

    P  prompts of a step            G  samples per prompt (the group)
    N  samples of a step, N = P·G, siblings adjacent
    M  rewards (channels)           T  tokens of a sequence
    B  rows of a micro-batch        V  vocabulary
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rvpo.lazy import torch
from rvpo.thinking import NO_MODEL, Parts, Sees

if TYPE_CHECKING:
    from torch import Tensor


STANDARD_ARGUMENTS = ("prompts", "completions", "completion_ids")
"""Arguments that every reward function is called with, besides the columns of the data."""
Message = Mapping[str, Any]
"""One chat turn: `{"role": ..., "content": ...}`, both texts, and whatever else the chat template
reads of it, such as `tool_calls`."""


def _text(message: Message) -> str:
    calls = message.get("tool_calls")
    said = [message["content"], json.dumps(calls, ensure_ascii=False, default=str) if calls else ""]
    return "\n".join(filter(None, said))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A question to the policy, with whatever its rewards need to judge the answer."""

    id: str
    messages: tuple[Message, ...]
    columns: Mapping[str, Any] = field(default_factory=dict)
    """The data row without its prompt; reward functions receive these by keyword."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """Functions that the chat template shows the model, each as OpenAI's API describes one."""

    @property
    def turns(self) -> tuple[tuple[str, str], ...]:
        """(role, text) of each message, the tools that it calls included."""
        return tuple((message["role"], _text(message)) for message in self.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Way in which completions are drawn."""

    temperature: float
    """Temperature of sampling; 0 takes the likeliest token each time."""
    max_completion_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One completion, exactly as the engine sampled it."""

    prompt: Prompt
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]  # [T], the end-of-turn token included when it was sampled
    logprobs: tuple[float, ...]  # [T], natural log, at the sampling temperature
    text: str
    """Text as sampled, with the markers of thoughts and without other special tokens."""
    finish_reason: Literal["stop", "length"]
    policy_version: int
    """Optimizer steps that the weights which sampled it had behind them."""
    parts: Parts | None = None
    """The text, split by who sampled it; left out, it is split as that of any model."""

    @property
    def answer(self) -> str:
        """The completion without its thoughts; empty where the thought never ended."""
        return self._split.answer

    @property
    def thought(self) -> str:
        """The thoughts without their markers; empty where there are none."""
        return self._split.thought

    def seen(self, sees: Sees) -> str:
        """Part that a reward is shown: the answer, or everything, and with it the marker of a
        thought that the chat template began in the prompt."""
        return self.answer if sees == "answer" else self._split.opened + self.text

    @property
    def _split(self) -> Parts:
        return NO_MODEL.split(self.text) if self.parts is None else self.parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The samples one rank generated in one step, whole groups only."""

    samples: tuple[Sample, ...]  # [N], siblings adjacent
    group_size: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A score that could not be determined. It is unknown, and never read as 0."""

    reason: str


Score = float | None | Failed
"""A value, not applicable (None), or failed with a reason."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A judge's remark on one score, to be read beside it."""

    question: str
    """The criterion, or what else was asked."""
    answer: str
    """The verdict, such as "met" or "7 of 10"."""
    reason: str
    """Reason in the judge's own words; empty where it gave none."""


@dataclass(frozen=True, init=False, eq=False)
class Rewards:
    """The reward matrix of a step, one named column per reward.

    Where prompts bring criteria of their own, a column is only a place: the third criterion of
    one prompt has nothing to do with that of another. What belongs together is an aspect.

    Args:
        values: [N, M] scores; entries outside `valid` are ignored and stored as 0.
        names: [M] distinct reward names.
        group_size: G; rows g·G … (g+1)·G − 1 answer the same prompt.
        weights: [M], or [N, M] where prompts weigh their rewards differently; finite and
            at least 0, all 1 if left out. Weight 0 means logged but not trained on.
        valid: [N, M] bool, true where a value exists; everywhere if left out.
        failures: reasons of missing scores, by (row, column); none for scores that do not apply.
        aspects: [N, M] bool masks of the scores that reports show together, by name; every column
            for itself if left out. They may overlap and need not hold everything. Within a group
            a column belongs to an aspect as a whole.
        remarks: judges' words, by (row, column).
        metrics: time, tokens and cost of scoring, ready to be logged.

    Raises:
        ValueError: shapes disagree, a valid value is not finite (the reward is named), a
            weight is negative, or a failure stands where a value exists.
    """

    values: Tensor  # [N, M] float
    names: tuple[str, ...]
    group_size: int
    weights: Tensor  # [N, M] float
    valid: Tensor  # [N, M] bool
    failures: Mapping[tuple[int, int], str]
    aspects: Mapping[str, Tensor]  # [N, M] bool each
    remarks: Mapping[tuple[int, int], Remark]
    metrics: Mapping[str, float]

    def __init__(
        self,
        values: Tensor,
        names: Sequence[str],
        group_size: int,
        weights: Tensor | None = None,
        valid: Tensor | None = None,
        failures: Mapping[tuple[int, int], str] | None = None,
        aspects: Mapping[str, Tensor] | None = None,
        remarks: Mapping[tuple[int, int], Remark] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        if values.ndim != 2 or values.shape[1] != len(names):
            raise ValueError(
                f"values has shape {list(values.shape)}; expected [samples, {len(names)}], "
                f"a column for each of {list(names)}"
            )
        if not names:
            raise ValueError("at least one reward is needed")
        if len(set(names)) != len(names):
            raise ValueError(f"reward names repeat: {list(names)}")
        if group_size < 1 or values.shape[0] % group_size:
            raise ValueError(f"{values.shape[0]} samples do not divide into groups of {group_size}")
        if not values.is_floating_point():
            values = values.float()
        valid = torch.ones_like(values, dtype=torch.bool) if valid is None else valid
        weights = torch.ones_like(values) if weights is None else weights.to(values)
        if valid.shape != values.shape or valid.dtype != torch.bool:
            raise ValueError(f"valid must be a bool tensor of shape {list(values.shape)}")
        if weights.shape not in (values.shape, values.shape[1:]):
            raise ValueError(
                f"weights has shape {list(weights.shape)}; expected {[len(names)]} or "
                f"{list(values.shape)}"
            )
        if not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()):
            raise ValueError("weights must be finite and at least 0")
        broken = (valid & ~torch.isfinite(values)).any(dim=0)
        if bool(broken.any()):
            name = names[int(broken.nonzero()[0])]
            raise ValueError(
                f"reward '{name}' holds NaN or infinity; mark a missing score in `valid` instead"
            )
        failures = dict(failures or {})
        if any(bool(valid[row, column]) for row, column in failures):
            raise ValueError("a failure may only stand where `valid` is false")
        aspects = _columns(names, values) if aspects is None else aspects
        wrong = [n for n, mask in aspects.items() if mask.shape != values.shape]
        if wrong:
            raise ValueError(f"aspect '{wrong[0]}' must be a mask of shape {list(values.shape)}")
        put = object.__setattr__  # the dataclass is frozen
        put(self, "values", torch.where(valid, values, torch.zeros_like(values)))
        put(self, "names", tuple(names))
        put(self, "group_size", group_size)
        put(self, "weights", weights.expand_as(values))
        put(self, "valid", valid)
        put(self, "failures", failures)
        put(self, "aspects", dict(aspects))
        put(self, "remarks", dict(remarks or {}))
        put(self, "metrics", dict(metrics or {}))

    @property
    def used(self) -> Tensor:
        """[N, M] bool: scores that exist and carry weight."""
        return self.valid & (self.weights > 0)


def _columns(names: Sequence[str], values: Tensor) -> dict[str, Tensor]:
    """Each column as an aspect of its own."""
    masks = torch.eye(len(names), dtype=torch.bool)
    return {name: mask.expand(values.shape) for name, mask in zip(names, masks, strict=True)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Advantages:
    """An estimator's result for a reward matrix."""

    values: Tensor  # [N], 0 wherever `trained` is false
    trained: Tensor  # [N] bool; the others leave the loss and its normaliser
    z: Tensor  # [N, M] group z-score of each reward, 0 where there is no score
    metrics: Mapping[str, float]
    """Diagnostics of the step, ready to be logged."""
