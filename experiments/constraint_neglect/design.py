"""What PROTOCOL.md fixes: tasks, arms, learning rates and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

TASK: Final = "experiments.constraint_neglect.task"
STEPS: Final = 100
EVERY: Final = 20
"""Steps between two evaluations; the first is before training."""
SEEDS: Final = tuple(range(1000, 1010))
TUNING_SEED: Final = 900
"""Its runs choose learning rates, and are in no other result."""
RATES: Final = (2e-4, 4e-4, 8e-4)
TUNED_ON: Final = ("main",)

ARMS: Final[Mapping[str, Mapping[str, Any]]] = {
    "grpo": {"name": "grpo"},
    "grpo_level": {"name": "grpo", "inputs": "level"},
    "gdpo": {"name": "gdpo"},
    "rvpo": {"name": "rvpo", "k": 1.0},
    "level_min": {"name": "level_min"},
    "dara": {"name": "dara"},
    "gdpo_saw": {"name": "gdpo_saw"},
    "dvao": {"name": "dvao"},
    "gd2po": {"name": "gd2po"},
}


@dataclass(frozen=True)
class Task:
    """A set of rewards, and the policy that begins."""

    rewards: Mapping[str, Mapping[str, Any]]
    sealed: float
    """Share of sealed answers that the initial policy imitates."""
    noise: tuple[str, ...] = ()
    """Rewards that are noise, of which success is not asked."""

    @property
    def earned(self) -> tuple[str, ...]:
        """The rewards that "all satisfied" is about."""
        return tuple(name for name in self.rewards if name not in self.noise)


def _reward(function: str, good: float | None = None, **arguments: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"function": f"{TASK}:{function}", "arguments": arguments}
    return found if good is None else found | {"satisfied": good}


def _three(limit: int = 20, unit: float = 8) -> dict[str, Mapping[str, Any]]:
    return {
        "long": _reward("long", 12 / unit, unit=unit),
        "sealed": _reward("sealed", limit=limit),
        "pleasant": _reward("pleasant", 0.5),
    }


def _letters(letters: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    return {f"uses_{letter}": _reward("uses", letter=letter) for letter in letters}


_COINS: Final = {"coin_05": 0.05, "coin_50": 0.5}
TASKS: Final[Mapping[str, Task]] = {
    "main": Task(_three(), sealed=0.4),
    "rare": Task(_three(), sealed=0.1),
    "guard_letters": Task(_three(limit=14, unit=1), sealed=1.0),
    "conflict": Task(_three(limit=12), sealed=0.8),
    "channels_17": Task(
        {"long": _reward("long", 1.5), "sealed": _reward("sealed")} | _letters("abcdefghijklmno"),
        sealed=0.4,
    ),
    "easy": Task(_three(), sealed=0.8),
    "coins": Task(
        _three() | {name: _reward("coin", rate=p, name=name) for name, p in _COINS.items()},
        sealed=0.4,
        noise=tuple(_COINS),
    ),
}
