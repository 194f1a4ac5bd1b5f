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

from rvpo.agreement import Agreement
from rvpo.episode import Episode
from rvpo.lazy import torch
from rvpo.reward_matrix import problems, problems_of_reliability
from rvpo.satisfied import Satisfied
from rvpo.thinking import NO_MODEL, Parts, Sees

if TYPE_CHECKING:
    from torch import Tensor


STANDARD_ARGUMENTS = ("prompts", "completions", "completion_ids")
"""Arguments that every reward function is called with, besides the columns of the data."""
RUN_ARGUMENTS = ("trainer_state", "log_extra", "log_metric")
"""Further arguments of every reward function, as TRL has them: the state of training, and two
functions that log what is no score."""
LENGTH_ARGUMENTS = ("thought_tokens", "answer_tokens", "policy_tokens")
"""Arguments that a reward function is called with where it names them: tokens of each completion's
thoughts, of its answer, and all that are the policy's, without those of a world that answered."""
EPISODE_ARGUMENTS = ("episodes", "environments")
"""Arguments of a run whose samples are episodes: each one's `Episode`, where the function names it,
and the world's own object at its end, as TRL has it."""
Message = Mapping[str, Any]
"""One chat turn: `{"role": ..., "content": ...}`, both texts, and whatever else the chat template
reads of it, such as `tool_calls`."""


def is_message(value: Any) -> bool:
    """True where a value is a chat turn: a mapping with a string `role` and a string `content`."""
    return isinstance(value, Mapping) and all(
        isinstance(value.get(name), str) for name in ("role", "content")
    )


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
    text: str | None = field(default=None, compare=False)
    """The prompt as the data have it, where that is text: functions are handed it as text."""
    is_raw: bool = False
    """True where the model sees `text` as it stands, without its chat template."""
    prefill: str = ""
    """Text that begins the answer: the model goes on behind it."""
    token_ids: tuple[int, ...] | None = field(default=None, compare=False)
    """Tokens that the model sees in place of what the rest would give: a conversation that goes on,
    whose turns stay as they were sampled."""

    @property
    def turns(self) -> tuple[tuple[str, str], ...]:
        """(role, text) of each message, the tools that it calls included."""
        return tuple((message["role"], _text(message)) for message in self.messages)


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
    """Optimizer steps that the weights which sampled it had behind them; the oldest of several."""
    versions: tuple[int, ...] = ()  # [T]
    """The same of each token, where weights came in between; empty where all tokens have one."""
    parts: Parts | None = None
    """The text, split by who sampled it; left out, it is split as that of any model."""
    given: tuple[int, ...] = ()
    """Places of tokens that the policy did not draw, such as an end that a budget put to a thought:
    context for what follows, and never trained on."""
    supports: tuple[Sequence[int], Sequence[int]] | None = None
    """Tokens that could be drawn, where it is not all of them: their ids, those of one place after
    those of another, and [T] how many there are for each. `logprobs` are over these alone."""
    episode: Episode | None = None
    """The turns, where a world answered the policy. `completion_ids` are those of all turns, and
    `text` and `parts` of the policy's last one."""

    @property
    def token_versions(self) -> tuple[int, ...]:
        """[T] version of the weights that sampled each token."""
        return self.versions or (self.policy_version,) * len(self.completion_ids)

    @property
    def policy_versions(self) -> tuple[int, ...]:
        """The same of the tokens that are the policy's, see `length`."""
        if self.episode is None:
            return self.token_versions
        turns, versions = self.episode.policy_turns, self.token_versions
        return tuple(v for turn in turns for v in versions[turn.start : turn.stop])

    @property
    def is_thought_ended(self) -> bool:
        """True where a budget ended a thought: some of the policy's own tokens were given."""
        return len(self.given) > len(self.completion_ids) - self.length

    @property
    def answer(self) -> str:
        """The completion without its thoughts; empty where the thought never ended."""
        return self._split.answer

    @property
    def thought(self) -> str:
        """The thoughts without their markers; empty where there are none."""
        return self._split.thought

    @property
    def missing(self) -> str:
        """Reason that it has no score, whatever would give it; empty where it has one."""
        return "" if self.episode is None else self.episode.missing

    @property
    def length(self) -> int:
        """Tokens that are the policy's, with those that a budget put to a thought: all of them, or
        those of its turns where a world answered."""
        if self.episode is None:
            return len(self.completion_ids)
        return sum(turn.length for turn in self.episode.policy_turns)

    @property
    def answer_length(self) -> int:
        """Tokens of the answer, with the token that ended it; all of them where there is no
        thought, and by its share of the text where nobody has counted them. Of an episode those of
        all turns of the policy without their thoughts."""
        if self.episode is not None:
            return self.length - sum(turn.thought_tokens for turn in self.episode.policy_turns)
        tokens, parts = len(self.completion_ids), self._split
        if not parts.answer and (self.text or parts.opened):
            return 0
        if parts.answer == self.text:
            return tokens
        if parts.answer_tokens is None:
            return round(tokens * len(parts.answer) / len(self.text))
        return min(tokens, parts.answer_tokens + (self.finish_reason == "stop"))

    @property
    def thought_length(self) -> int:
        """Tokens of the thoughts, their markers and the blank space behind them; 0 where there is
        no thought. Of an episode those of all turns of the policy."""
        return self.length - self.answer_length

    def sampled(self, sees: Sees) -> str:
        """Part that a function is shown: the answer, or everything, and with it the marker of a
        thought that the chat template began in the prompt. What the user began is left out, as by
        TRL. Of an episode it is that of the policy's last turn."""
        if sees == "answer":
            return self.answer
        is_of_user = self.prompt.is_raw or self.prompt.prefill
        return self.text if is_of_user else self._split.opened + self.text

    def seen(self, sees: Sees) -> str:
        """Part that a judge is shown: as `sampled`, behind what the settings have begun of it; all
        turns of an episode, see `Episode.told`."""
        begun = self.prompt.prefill
        if self.episode is not None:
            return self.episode.told(sees, begun)
        if not begun:
            return self.sampled(sees)
        if sees == "everything":
            return begun + self.text
        if self.thought and not self.answer:
            return ""
        before = begun[: max(0, len(begun) - len(self._split.opened))]
        return NO_MODEL.split_alone(before).answer + self.answer

    @property
    def _split(self) -> Parts:
        return NO_MODEL.split(self.text) if self.parts is None else self.parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """Numbers of how one rank's engine generated a rollout; None where nobody tells."""

    seconds: float | None = None
    cache_usage: float | None = None
    """Largest share of the KV cache in use."""
    cache_tokens: int | None = None
    """Tokens that the KV cache has room for."""
    preemptions: int | None = None
    """Times that a sample gave up its place in the KV cache, and was computed again."""
    memory: int | None = None
    """Bytes of the engine's GPU taken at most, by all that is on it."""
    servers: int | None = None
    """Servers that still had the present weights at the end."""
    asked_again: int | None = None
    """Requests for samples that a server did not answer, and that another one was sent."""
    world_wait: float | None = None
    """Seconds in which there was nothing to do but to wait for the worlds of episodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The samples one rank generated in one step, whole groups only."""

    samples: tuple[Sample, ...]  # [N], siblings adjacent
    group_size: int
    generation: Generation = field(default=Generation(), compare=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """A score that could not be determined. It is unknown, and never read as 0."""

    reason: str


RewardScore = float | None | Failed
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
    """The reward matrix of a step, one named column per reward: what estimators see.

    Where prompts bring criteria of their own, a column is only a place: the third criterion of
    one prompt has nothing to do with that of another.

    Args:
        values: [N, M] scores; entries outside `valid` are ignored and stored as 0.
        names: [M] distinct reward names.
        group_size: G; rows g·G … (g+1)·G − 1 answer the same prompt.
        weights: [M], or [N, M] where prompts weigh their rewards differently; finite and
            at least 0, all 1 if left out. Weight 0 means logged but not trained on.
        valid: [N, M] bool, true where a value exists; everywhere if left out.
        prompts: [P] the id of each group's prompt; None where nobody says.
        reliability: [M], or [N, M] where prompts have criteria of their own; in [0, 1], the share
            of what tells siblings apart in a score that is no noise. None where nobody asks.
        satisfied: [M] scores that are good enough of each reward; None for verdicts, whose scores
            lie between 0 and 1, and where nobody says.

    Raises:
        ValueError: shapes disagree, a valid value is not finite (the reward is named), a weight
            is negative, or a reliability is not in [0, 1].
    """

    values: Tensor  # [N, M] float
    names: tuple[str, ...]
    group_size: int
    weights: Tensor  # [N, M] float
    valid: Tensor  # [N, M] bool
    prompts: tuple[str, ...] | None
    reliability: Tensor | None  # [N, M] float
    satisfied: tuple[Satisfied | None, ...]  # [M]

    def __init__(
        self,
        values: Tensor,
        names: Sequence[str],
        group_size: int,
        weights: Tensor | None = None,
        valid: Tensor | None = None,
        prompts: Sequence[str] | None = None,
        reliability: Tensor | None = None,
        satisfied: Sequence[Satisfied | None] | None = None,
    ) -> None:
        values = values if values.is_floating_point() else values.float()
        weights = torch.ones_like(values) if weights is None else weights.to(values)
        valid = torch.ones_like(values, dtype=torch.bool) if valid is None else valid
        problem = next(problems(values, names, group_size, weights, valid, prompts), None)
        if problem is None and reliability is not None:
            problem = next(problems_of_reliability(values, reliability), None)
        if problem is None and satisfied is not None and len(satisfied) != len(names):
            problem = f"satisfied has {len(satisfied)} entries; expected {len(names)}"
        if problem is not None:
            raise ValueError(problem)
        vars(self).update(  # the dataclass is frozen
            values=values.where(valid, 0.0),
            names=tuple(names),
            group_size=group_size,
            weights=weights.expand_as(values),
            valid=valid,
            prompts=None if prompts is None else tuple(prompts),
            reliability=None if reliability is None else reliability.to(values).expand_as(values),
            satisfied=(None,) * len(names) if satisfied is None else tuple(satisfied),
        )

    @property
    def weighted(self) -> Tensor:
        """[N, M] bool: scores that exist and carry weight."""
        return self.valid & (self.weights > 0)

    @property
    def columns(self) -> dict[str, Tensor]:
        """[N, M] bool by name: the mask of each column."""
        masks = torch.eye(len(self.names), dtype=torch.bool, device=self.values.device)
        own = zip(self.names, masks, strict=True)
        return {name: mask.expand(self.values.shape) for name, mask in own}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RolloutScores:
    """The rewards of a step, with what only reports need of them.

    Raises:
        ValueError: a failure stands where a value exists, or an aspect is no mask of the matrix.
    """

    rewards: Rewards
    aspects: Mapping[str, Tensor]  # [N, M] bool each
    """The scores that reports show together, by name, such as `Rewards.columns`. They may overlap
    and need not hold everything. Within a group a column belongs to an aspect as a whole."""
    failures: Mapping[tuple[int, int], str] = field(default_factory=dict)
    """Reasons of missing scores, by (row, column); none for scores that do not apply."""
    remarks: Mapping[tuple[int, int], Remark] = field(default_factory=dict)
    """Judges' words, by (row, column)."""
    spared: Mapping[tuple[int, int], float] = field(default_factory=dict)
    """Weights that scores would have which were determined for a few samples of their group alone,
    by (row, column), whether or not of this sample. They train nothing: their weight is 0."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Time, tokens and cost of scoring, and what reward functions logged, ready to be logged."""
    extras: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    """Values that reward functions logged of this rank's samples, by reward and column."""
    agreements: Mapping[str, Agreement] = field(default_factory=dict)
    """Agreement with their repeats of scores that were asked for again, of all ranks, by aspect."""

    def __post_init__(self) -> None:
        if any(bool(self.rewards.valid[row, column]) for row, column in self.failures):
            raise ValueError("a failure may only stand where `valid` is false")
        shape = self.rewards.values.shape
        for name, mask in self.aspects.items():
            if mask.shape != shape:
                raise ValueError(f"aspect '{name}' must be a mask of shape {list(shape)}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Channels:
    """Part of each reward in the advantages of a step."""

    comparable: Tensor  # [N, M] bool, at least two samples of the group have this score
    constant: Tensor  # [N, M] bool, comparable, and all scores of the group are exactly equal
    weight: Tensor
    """[N, M] dA/dZ_j, scaled to sum to 1 over each trained row, 0 in the others; where reliability
    weighs, times that, which leaves less."""
    bottleneck: Tensor  # [N, M] 1 at a trained row's lowest z, in equal parts among ties


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Advantages:
    """An estimator's result for a reward matrix."""

    values: Tensor  # [N], 0 wherever `trained` is false
    trained: Tensor  # [N] bool; the others leave the loss and its normaliser
    z: Tensor
    """[N, M] group z-score of each reward, 0 where there is no score; where reliability weighs,
    times that."""
    metrics: Mapping[str, float]
    """Diagnostics of the step, ready to be logged; those of a reward under its name."""
    channels: Channels | None = None
    """Part of each reward in the advantages; None where an estimator does not tell."""
