"""The state of training, as a reward function is told of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerState:
    """The argument `trainer_state` of reward functions, under the names that transformers has.

    Nothing of it can be changed: what a function keeps from step to step, it keeps in its module.
    """

    global_step: int = 0
    """Optimizer steps done: 0 while the first rollout is scored, and before training."""
    max_steps: int = 0
    """Steps of the whole run."""
    epoch: float = 0.0
    """Visits to all prompts so far."""
    num_train_epochs: int = 0
    """Visits to all prompts of the whole run, the last begun one included."""
    is_world_process_zero: bool = True
    """True on the one process that writes files, of all machines."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"trainer_state has no '{name}' here; it has {', '.join(TrainerState.__slots__)}"
        )


BEFORE: Final = TrainerState()
"""State of a run that has not begun, and of calls outside of any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The run that reward functions are told of; one without steps where there is none."""

    steps: int = 0
    epochs_per_step: float = 0.0
    is_main: bool = True
    """True on the process that writes files."""

    def at(self, step: int) -> TrainerState:
        """The state after so many optimizer steps."""
        return TrainerState(
            global_step=step,
            max_steps=self.steps,
            epoch=step * self.epochs_per_step,
            num_train_epochs=math.ceil(self.steps * self.epochs_per_step),
            is_world_process_zero=self.is_main,
        )


NO_TRAINING: Final = Training()
