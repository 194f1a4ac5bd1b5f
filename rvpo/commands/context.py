"""The surroundings of a run, which all of its parts share."""

from __future__ import annotations

from dataclasses import dataclass

from rvpo.config.run import RunConfig
from rvpo.report.display import Display
from rvpo.report.run_folder import RunFolder
from rvpo.runtime.ranks import Ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """A run as one of its ranks sees it."""

    config: RunConfig
    folder: RunFolder
    ranks: Ranks
    display: Display

    def phase(self, text: str) -> None:
        """Say what is going on outside of steps: on the terminal, and to the other ranks."""
        self.display.phase(text)
        self.ranks.doing(text)
