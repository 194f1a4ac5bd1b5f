"""The settings that every environment has."""

from __future__ import annotations

from rvpo.environments.environment import Environment
from rvpo.fields import Fraction, PositiveFloat, PositiveInt, Section


class EnvironmentConfig(Section):
    """An environment and its settings. A subclass has a `name`, and `open`."""

    max_turns: PositiveInt = 8
    """Turns of the policy after which an episode is over."""
    seconds: PositiveFloat = 30.0
    """Seconds that the world may take to answer a turn; an episode that waits longer has no
    score."""
    episode_seconds: PositiveFloat | None = None
    """Seconds after which an episode gets no further turn; no limit if left out."""
    budget: Fraction = 0.5
    """Share of the episodes of a step, or of an evaluation, that may have no score. A step that
    lost more stops the run before it trains, and `--resume` plays it again."""
    at_once: PositiveInt = 64
    """Worlds that may be at work at the same time, on each rank; the others wait, and their seconds
    begin behind that."""

    @property
    def start_seconds(self) -> float:
        """Time that processes may take to start beside a world's own in each turn."""
        return 0.0

    def open(self) -> Environment:
        """The environment, ready for sessions.

        Raises:
            ConfigError: it cannot be had here.
        """
        raise NotImplementedError
