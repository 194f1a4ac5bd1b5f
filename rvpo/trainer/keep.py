"""Saving after a step: models to use, and the checkpoint to go on from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rvpo.errors import ConfigError, RewardError
from rvpo.report.best import read_best
from rvpo.report.run_folder import RunFolder, write_json
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.checkpoint import Checkpoints
from rvpo.trainer.policy import Policy


class Keep(Protocol):
    """The interface of what saves models during training."""

    def __call__(
        self, step: int, policy: Policy, scores: Mapping[str, float], *, last: bool
    ) -> None:
        """Called on every rank.

        Args:
            step: updates done.
            scores: the evaluation's after this step, the same on every rank; empty without one.
            last: no later call will come.

        Raises:
            CheckpointError: something cannot be written.
        """
        ...

    def save(self, step: int, policy: Policy) -> None:
        """Write the checkpoint of a step that was kept before and had none due. Called on every
        rank.

        Raises:
            CheckpointError: it cannot be written.
        """
        ...


@dataclass(frozen=True)
class Keeper:
    """Checkpoints, and models for transformers and vLLM: every so often, and the best one.

    Args:
        export: writes the policy as a model folder, called on every rank.
        models_every: steps between models, 0 for none.
        best: the metric whose highest value chooses the best model; None for none.
    """

    checkpoints: Checkpoints
    export: Callable[[Path], None]
    folder: RunFolder
    ranks: Ranks
    models_every: int
    best: str | None

    def __call__(
        self, step: int, policy: Policy, scores: Mapping[str, float], *, last: bool
    ) -> None:
        """See `Keep`. The checkpoint comes last: what a kill prevents is done again."""
        if self.models_every and step % self.models_every == 0:
            self.export(self.folder.model_after(step))
        if self.best is not None and scores:
            self._keep_best(step, self.best, scores)
        self.checkpoints.after(step, policy, last=last)

    def save(self, step: int, policy: Policy) -> None:
        """See `Keep`."""
        if not self.checkpoints.holds(step):
            self.checkpoints.after(step, policy, last=True)

    def late(self, step: int, scores: Mapping[str, float]) -> None:
        """Take note of an evaluation that could not be made when its step was kept."""
        if self.best is not None and scores:
            self._keep_best(step, self.best, scores)

    def check(self, scores: Mapping[str, float], lost: Mapping[str, str]) -> None:
        """Refuse a metric that no evaluation gives.

        Args:
            scores: those of any evaluation; none says nothing.
            lost: metrics that it lacks because a judge or a world failed, with words for that.

        Raises:
            ConfigError: the metric is not among them.
            RewardError: it is lost.
        """
        if self.best is not None and self.best in lost:
            raise RewardError(
                f"checkpoint.best: '{self.best}' is not known before training, because "
                f"{lost[self.best]}; mend the judge or the environment that failed, then continue "
                "with --resume, which asks again"
            )
        if self.best is not None and scores and self.best not in scores:
            raise ConfigError(
                f"checkpoint.best: no evaluation gives '{self.best}'; there are "
                f"{', '.join(sorted(scores))}"
            )

    def _keep_best(self, step: int, metric: str, scores: Mapping[str, float]) -> None:
        # A network's disk may show another rank less, and it would export alone.
        with self.ranks.together():
            found = read_best(self.folder) if self.ranks.is_main else None
        known = self.ranks.first(found)
        if metric not in scores:  # as where all scores below it are missing
            return
        if known is not None and known.value >= scores[metric]:
            return
        self.export(self.folder.best)
        if self.ranks.is_main:
            write_json(
                self.folder.best_of, {"metric": metric, "value": scores[metric], "step": step}
            )
