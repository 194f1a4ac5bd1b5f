"""The interface of a tracker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rvpo.errors import ConfigError
from rvpo.report.record import Report
from rvpo.report.run_folder import RunFolder
from rvpo.runtime.extras import MODULES, installed


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedRun:
    """A run as every tracker sees it."""

    folder: RunFolder
    project: str
    group: str | None
    """The comparison that the run belongs to."""
    arm: str | None
    """Name that distinguishes the run from others of its group."""
    config: Mapping[str, Any]
    """The resolved settings, JSON-ready."""
    say: Callable[[str], None]
    """Takes a line for the terminal."""

    @property
    def name(self) -> str:
        return self.folder.path.resolve().name


class Tracker(Protocol):
    """A section of the settings that can follow a run."""

    def check(self) -> None:
        """Raise ConfigError where what it needs is not installed."""

    def open(self, run: TrackedRun) -> Report:
        """Start, or go on, following a run."""


def require(name: str, package: str) -> None:
    """Make sure that a tracker's package is there.

    Args:
        name: the tracker, as the settings call it.
        package: the one it imports. The extra of the tracker's name brings it; where there is none,
            the distribution of that name does.

    Raises:
        ConfigError: it is not installed.
    """
    if not installed(package):
        wanted = f"'rvpo[{name}]'" if name in MODULES else package
        raise ConfigError(
            f"report.trackers: {name} needs the package {package}, which is not installed; write "
            f"pip install {wanted}, or take {name} out of the list"
        )
