"""Trackers of a run's curves: each one file, each its own section of the settings.

A new one is a file with a section that has a `name`, `check` and `open`, and its class in
`AnyTracker` below.
"""

from __future__ import annotations

from rvpo.report.trackers.tensorboard import TensorBoard
from rvpo.report.trackers.tracker import TrackedRun
from rvpo.report.trackers.trackio import Trackio
from rvpo.report.trackers.wandb import Wandb

AnyTracker = Wandb | TensorBoard | Trackio
"""The trackers that `report.trackers` may list."""

__all__ = ["AnyTracker", "TensorBoard", "TrackedRun", "Trackio", "Wandb"]
