"""The rule that ends a run which gets no better, or is good enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rvpo.config.early_stop import EarlyStopConfig
from rvpo.errors import ConfigError, RewardError
from rvpo.runtime.ranks import Ranks

Kept = Callable[[int], Mapping[int, Mapping[str, float]]]
"""Gives the metrics of evaluation that a run has kept, by step, up to one; nothing where that is
none of theirs."""


@dataclass(frozen=True)
class EarlyStop:
    """Ends a run by what its folder holds of its evaluations, so that a resumed one ends alike.

    An evaluation that lacks the metric, because a judge or a world failed, has no say.

    Args:
        rule: None lets every run go on to its last step.
        say: told why a run ends.
    """

    rule: EarlyStopConfig | None
    kept: Kept
    ranks: Ranks
    say: Callable[[str], None]

    def __call__(self, step: int) -> bool:
        """True where the run ends after so many updates, on every rank alike. Every rank must call.

        Raises:
            CheckpointError: what an evaluation kept is damaged.
            RankError: it is so on the main rank.
        """
        if self.rule is None:
            return False
        with self.ranks.together():
            found = self._reason(self.rule, step) if self.ranks.is_main else None
        reason = self.ranks.first(found)
        if reason is not None:
            self.say(reason)
        return reason is not None

    def check(self, scores: Mapping[str, float], lost: Mapping[str, str]) -> None:
        """Refuse a metric that no evaluation gives, and a goal that is reached before training.

        Args:
            scores: those of the evaluation before training; none says nothing.
            lost: metrics that it lacks because a judge or a world failed, with words for that.

        Raises:
            ConfigError: the metric is not among them, or the goal is reached.
            RewardError: it is lost.
        """
        rule = self.rule
        if rule is None:
            return
        if rule.metric in lost:
            raise RewardError(
                f"evaluate.early_stop.metric: '{rule.metric}' is not known before training, "
                f"because {lost[rule.metric]}; mend the judge or the environment that failed, then "
                "continue with --resume, which asks again"
            )
        if not scores:
            return
        if rule.metric not in scores:
            raise ConfigError(
                f"evaluate.early_stop.metric: no evaluation gives '{rule.metric}'; there are "
                f"{', '.join(sorted(scores))}"
            )
        if _is_reached(rule, scores[rule.metric]):
            raise ConfigError(
                f"evaluate.early_stop.goal: {rule.goal:g} is reached before training, where "
                f"'{rule.metric}' is {scores[rule.metric]:.3f}, so that the rule would end every "
                "run; give another, or patience in its place"
            )

    def _reason(self, rule: EarlyStopConfig, step: int) -> str | None:
        """The sentence for a run that ends here; None for one that goes on."""
        kept = self.kept(step)
        values = {at: kept[at][rule.metric] for at in sorted(kept) if rule.metric in kept[at]}
        if step not in values or step == 0:
            return None
        if _is_reached(rule, values[step]):
            return _sentence(
                f"'{rule.metric}' is {values[step]:.3f} after step {step}, and goal={rule.goal:g}"
            )
        best = next(iter(values))
        for at, value in values.items():
            if rule.gain(value, values[best]) > rule.min_delta:
                best = at
        since = [at for at in values if at > best]
        if rule.patience is None or len(since) < rule.patience:
            return None
        told = ", ".join(f"{values[at]:.3f} after step {at}" for at in since[-rule.patience :])
        better = f"better by more than {rule.min_delta:g}" if rule.min_delta else "better"
        return _sentence(
            f"'{rule.metric}' was {values[best]:.3f} after step {best}, and none of the next "
            f"{len(since)} evaluations was {better}: {told}"
        )


def _is_reached(rule: EarlyStopConfig, value: float) -> bool:
    return rule.goal is not None and rule.gain(value, rule.goal) >= 0


def _sentence(reason: str) -> str:
    return (
        f"evaluate.early_stop: the run ends here. {reason}. Checkpoint and model are kept; to "
        "train on, resume with another rule: --resume evaluate.early_stop=null"
    )
