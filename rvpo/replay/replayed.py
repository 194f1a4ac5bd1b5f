"""Advantages that other estimators give to the stored scores of a run.

Two estimators teach the same where the signs of their advantages agree: which samples become
likelier, and which less so. Where they do not, the order within a prompt says how far apart they
are, and the pulls (`advantage.pull`) say which reward each of them follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from rvpo.advantage import AdvantageEstimator
from rvpo.advantage.diagnostics import NEGLIGIBLE
from rvpo.advantage.pull import pull_by_aspect
from rvpo.errors import RewardError
from rvpo.lazy import torch
from rvpo.report.score_files import StepScores
from rvpo.runtime.ignore import ignore
from rvpo.types import Advantages, Rewards

if TYPE_CHECKING:
    from torch import Tensor

EXACT: Final = 1e-6
"""Difference of advantages up to which they are those that were stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptReplay:
    """One group of a step by an estimator, against what it was trained by."""

    prompt: str
    flips: int
    """Samples whose advantage has the opposite sign."""
    trained: int
    """Samples that both train."""
    order: float | None
    """Spearman's correlation of the order of the samples; None where either has no order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReplay:
    """One step by an estimator, against what it was trained by."""

    step: int
    prompts: tuple[PromptReplay, ...]
    pulls: Mapping[str, float]
    """Share of what the advantages move, by aspect."""
    raised: Mapping[str, tuple[int, int]]
    """Samples above the mean of their siblings in an aspect: those whose advantage is above 0, and
    all that are trained."""
    difference: float
    """Largest difference of an advantage from the stored one."""

    @property
    def flips(self) -> int:
        """Samples whose advantage has the opposite sign."""
        return sum(each.flips for each in self.prompts)

    @property
    def trained(self) -> int:
        """Samples that both train."""
        return sum(each.trained for each in self.prompts)

    @property
    def order(self) -> float | None:
        """Mean over the prompts that have one."""
        return mean(each.order for each in self.prompts)


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatorReplay:
    """All steps by an estimator."""

    title: str
    steps: tuple[StepReplay, ...]

    @property
    def flipped(self) -> float | None:
        """Share of the samples that both train whose advantage has the opposite sign."""
        trained = sum(step.trained for step in self.steps)
        return sum(step.flips for step in self.steps) / trained if trained else None

    @property
    def order(self) -> float | None:
        """Mean over all groups that have one."""
        return mean(group.order for step in self.steps for group in step.prompts)

    @property
    def difference(self) -> float:
        """Largest difference of an advantage from the stored one."""
        return max((step.difference for step in self.steps), default=0.0)

    def pull(self, aspect: str) -> float | None:
        """Mean over the steps in which the aspect carried weight."""
        return mean(step.pulls.get(aspect) for step in self.steps)

    def raised(self, aspect: str) -> float | None:
        """Share of the samples above their siblings in an aspect that became likelier."""
        counts = [step.raised[aspect] for step in self.steps if aspect in step.raised]
        every = sum(count for _, count in counts)
        return sum(up for up, _ in counts) / every if every else None

    def by_prompt(self) -> list[PromptReplay]:
        """Groups of each prompt together, those with the largest share of flips first."""
        found: dict[str, list[PromptReplay]] = {}
        for step in self.steps:
            for group in step.prompts:
                found.setdefault(group.prompt, []).append(group)
        merged = [
            PromptReplay(
                prompt=prompt,
                flips=sum(group.flips for group in groups),
                trained=sum(group.trained for group in groups),
                order=mean(group.order for group in groups),
            )
            for prompt, groups in found.items()
        ]
        return sorted(merged, key=lambda each: -each.flips / max(1, each.trained))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReplay:
    """A run's steps by its own estimator, and by others."""

    own: EstimatorReplay
    others: tuple[EstimatorReplay, ...]
    aspects: tuple[str, ...]
    """Names of what pulls are of."""

    @property
    def every(self) -> tuple[EstimatorReplay, ...]:
        """The run's own estimator, then the others."""
        return (self.own, *self.others)

    def to_json(self) -> dict[str, Any]:
        """Everything, by estimator, reward, step and prompt."""
        return {
            "reproduced": self.own.difference,
            "estimators": [_estimator_json(each, self.aspects) for each in self.every],
        }


def replay(
    steps: Iterable[StepScores],
    own: tuple[str, AdvantageEstimator],
    others: Mapping[str, AdvantageEstimator],
    tell: Callable[[int], None] = ignore,
) -> RunReplay:
    """The steps of a run by its own estimator and by others.

    Args:
        steps: read one after the other, and forgotten.
        own: title of the run's estimator, and the estimator.
        others: further estimators, by title.
        tell: told each step that is done.

    Raises:
        RewardError: an estimator cannot read the scores; the message names the estimator.
    """
    name, first = own
    every = {name: first} | dict(others)
    found: dict[str, list[StepReplay]] = {title: [] for title in every}
    aspects: dict[str, None] = {}
    for scores in steps:
        aspects |= dict.fromkeys(scores.aspects)
        for title, estimate in every.items():
            found[title].append(_step(scores, title, estimate))
        tell(scores.step)
    made = [EstimatorReplay(title=t, steps=tuple(each)) for t, each in found.items()]
    return RunReplay(own=made[0], others=tuple(made[1:]), aspects=tuple(aspects))


def _step(scores: StepScores, title: str, estimate: AdvantageEstimator) -> StepReplay:
    try:
        advantages = estimate(scores.rewards, scores.progress)
    except (RewardError, ValueError) as error:
        raise RewardError(f"{title}, step {scores.step}: {error}") from error
    rewards = scores.rewards
    return StepReplay(
        step=scores.step,
        prompts=_prompts(scores, advantages),
        pulls=pull_by_aspect(rewards, advantages.values, advantages.trained, scores.aspects),
        raised=_raised(rewards, advantages, scores.aspects),
        difference=_difference(scores, advantages),
    )


def _difference(scores: StepScores, advantages: Advantages) -> float:
    if not len(advantages.values):
        return 0.0
    apart = float((advantages.values.double() - scores.advantages.double()).abs().max())
    return apart if torch.equal(advantages.trained, scores.trained) else max(1.0, apart)


def _prompts(scores: StepScores, advantages: Advantages) -> tuple[PromptReplay, ...]:
    size = scores.rewards.group_size
    both = (scores.trained & advantages.trained).reshape(-1, size)  # [P, G]
    stored = scores.advantages.double().reshape(-1, size)
    found = advantages.values.double().reshape(-1, size)
    is_told = both & (stored.abs() > NEGLIGIBLE) & (found.abs() > NEGLIGIBLE)
    flips = (is_told & (stored.sign() != found.sign())).sum(dim=1).tolist()
    orders = _orders(stored, found, both)
    ids = scores.rewards.prompts or [str(place) for place in range(len(flips))]
    groups = zip(ids, flips, both.sum(dim=1).tolist(), orders, strict=True)
    return tuple(PromptReplay(prompt=p, flips=f, trained=t, order=o) for p, f, t, o in groups)


def _orders(one: Tensor, other: Tensor, told: Tensor) -> list[float | None]:
    """[P] Spearman's correlation within each group, ties sharing their mean rank.

    Args:
        one, other: [P, G].
        told: [P, G] bool, samples that count.
    """
    first, second = _ranks(one, told), _ranks(other, told)
    together = (first * second).sum(dim=1)
    spread = (first.square().sum(dim=1) * second.square().sum(dim=1)).sqrt()
    pairs = zip(together.tolist(), spread.tolist(), strict=True)
    return [shared / all_of_it if all_of_it > 0 else None for shared, all_of_it in pairs]


def _ranks(values: Tensor, told: Tensor) -> Tensor:
    """[P, G] rank less the mean rank of the group; 0 for samples that do not count."""
    # Whitening leaves rounding between what is equal.
    steps = (values / NEGLIGIBLE).round()
    above = (steps[:, :, None] - steps[:, None, :]).sign() * (told[:, :, None] & told[:, None, :])
    return above.sum(dim=2) / 2


def _raised(
    rewards: Rewards, advantages: Advantages, aspects: Mapping[str, Tensor]
) -> dict[str, tuple[int, int]]:
    size = rewards.group_size
    grouped = (-1, size, len(rewards.names))
    valid = rewards.valid.reshape(grouped)
    values = rewards.values.double().reshape(grouped)
    mean_of = values.sum(dim=1, keepdim=True) / valid.sum(dim=1, keepdim=True).clamp(min=1)
    above = (valid & (values > mean_of + NEGLIGIBLE)).reshape(rewards.values.shape)
    above &= advantages.trained[:, None]
    up = above & (advantages.values > NEGLIGIBLE)[:, None]
    return {n: (int((up & mask).sum()), int((above & mask).sum())) for n, mask in aspects.items()}


def mean(values: Iterable[float | None]) -> float | None:
    """Over the values that there are; None where there is none."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _estimator_json(each: EstimatorReplay, aspects: Sequence[str]) -> dict[str, Any]:
    return {
        "title": each.title,
        "flipped": each.flipped,
        "order": each.order,
        "rewards": {
            name: {"pull": each.pull(name), "raised": each.raised(name)} for name in aspects
        },
        "steps": [
            {
                "step": step.step,
                "flips": step.flips,
                "trained": step.trained,
                "order": step.order,
                "pulls": dict(step.pulls),
            }
            for step in each.steps
        ],
        "prompts": [asdict(group) for group in each.by_prompt()],
    }
