"""The settings of the rule that ends a run which gets no better."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import model_validator

from rvpo.fields import Float, NonNegativeFloat, PositiveInt, Section


class EarlyStopConfig(Section):
    """The rule that ends a run by a metric of evaluation."""

    metric: str
    """A metric of evaluation, such as eval/rewards/correct/mean, eval/pass@4/correct or
    eval/bfcl/accuracy."""
    mode: Literal["max", "min"] = "max"
    """Better is more (`max`), or less (`min`)."""
    patience: PositiveInt | None = None
    """Evaluations in a row without a better value than the best before them, after which the run
    ends. The one before training counts as a value."""
    min_delta: NonNegativeFloat = 0.0
    """Difference that a value has to be better by."""
    goal: Float | None = None
    """Value that is good enough: a run that reaches it ends."""

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        if self.patience is None and self.goal is None:
            raise ValueError(
                "names nothing that would ever stop the run; add patience, such as patience: 3, or "
                "goal, the value that is good enough"
            )
        if self.min_delta and self.patience is None:
            raise ValueError("min_delta: belongs to patience; add that, or leave min_delta out")
        return self

    def gain(self, value: float, before: float) -> float:
        """Difference by which a value is better than another; negative where it is worse."""
        # Rounded, so that .9 is better than .7 by .2.
        return round(value - before if self.mode == "max" else before - value, 9)

    def problems(self, every: int, steps: int) -> Iterator[str]:
        """Problems of the rule with the evaluations there will be.

        Args:
            every: steps between two of them, 0 for none but the first and the last.
            steps: the run's.
        """
        between = (steps - 1) // every if every else 0
        if between < (self.patience or 1):
            cure = "evaluate.every smaller" if every else "evaluate.every above 0 and below steps"
            yield (
                f"evaluate.early_stop: {self.patience or 1} evaluations cannot end the run, since "
                f"there are {between} between its first step and its last; make {cure}"
                f"{', or patience smaller' if between else ''}, or leave early_stop out"
            )
