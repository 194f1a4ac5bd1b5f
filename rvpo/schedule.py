"""Settings and events that depend on the step of training alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """A straight line from the first step to the last.

        value = (1 - progress) start + progress end

    Raises:
        ValueError: an end of the line is not finite.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    start: float
    """Value at the first step."""
    end: float
    """Value at the last step."""

    def __post_init__(self) -> None:
        for field, value in (("start", self.start), ("end", self.end)):
            if not math.isfinite(value):
                raise ValueError(f"{field} must be a finite number, got {value}")

    def at(self, progress: float) -> float:
        """The value when that share of training is done; exact at both ends.

        Raises:
            ValueError: progress is outside [0, 1].
        """
        if not 0 <= progress <= 1:
            raise ValueError(f"progress must lie in [0, 1], got {progress}")
        return (1 - progress) * self.start + progress * self.end


def value_at(setting: float | Ramp, progress: float) -> float:
    """A setting that may change, when that share of training is done."""
    return setting.at(progress) if isinstance(setting, Ramp) else setting


def progress_at(step: int, steps: range) -> float:
    """Share of training done, from 0 in step 0 to 1 in the last one before `steps.stop`."""
    return step / max(1, steps.stop - 1)


def is_due(step: int, every: int, last_step: int) -> bool:
    """True where it is time to evaluate after so many updates: before the first, after the last,
    between."""
    return step in (0, last_step) or (every > 0 and step % every == 0)
