"""Checkpoints that a kill at any moment cannot spoil."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from pickle import UnpicklingError

from rvpo.errors import CheckpointError
from rvpo.report.run_folder import writing
from rvpo.trainer.policy import Policy
from rvpo.trainer.ranks import Ranks


class Checkpoints:
    """`step-000010/` folders, each written under another name and renamed when complete.

    Args:
        folder: where they are; made when the first one is written.
        every: steps between two.
        keep: how many of the newest stay.
    """

    def __init__(self, folder: Path, *, every: int, keep: int, ranks: Ranks) -> None:
        self._folder = folder
        self._every = every
        self._keep = keep
        self._ranks = ranks

    def after(self, step: int, policy: Policy, *, last: bool) -> None:
        """Save if one is due after `step` updates, or if no later one will come.

        Raises:
            CheckpointError: it cannot be written; the one before stays usable.
        """
        if last or step % self._every == 0:
            self._save(step, policy)

    def check_space(self, policy: Policy) -> None:
        """Refuse a disk that could not hold the checkpoints to come.

        Raises:
            CheckpointError: with what is needed and what is left.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._require((self._keep + 1) * policy.checkpoint_bytes)

    def restore(self, policy: Policy) -> int:
        """Continue from the newest complete checkpoint; returns its step, 0 if there is none.

        Raises:
            CheckpointError: it was written by another number of ranks.
        """
        complete = self._complete()
        if not complete:
            return 0
        try:
            return self._load(complete[-1], policy)
        except CheckpointError:
            raise
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, UnpicklingError) as error:
            before = f"; delete it to go on from {complete[-2]}" if complete[1:] else ""
            raise CheckpointError(
                f"{complete[-1]} is damaged ({type(error).__name__}: {error}){before}"
            ) from error

    def _load(self, folder: Path, policy: Policy) -> int:
        state = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
        if state["ranks"] != self._ranks.size:
            raise CheckpointError(
                f"{folder} was written by {state['ranks']} ranks and this run has "
                f"{self._ranks.size}; resume with distributed.processes={state['ranks']}"
            )
        policy.load(folder)
        step: int = state["step"]
        return step

    def _complete(self) -> list[Path]:
        return sorted(
            path for path in self._folder.glob("step-*") if not path.name.endswith(".partial")
        )

    def _save(self, step: int, policy: Policy) -> None:
        target = self._folder / f"step-{step:06d}"
        partial = target.with_name(target.name + ".partial")
        if self._ranks.is_main:
            for leftover in self._folder.glob("*.partial"):
                shutil.rmtree(leftover)
            with writing(partial):
                partial.mkdir(parents=True)
            self._require(policy.checkpoint_bytes)
        self._ranks.wait()
        policy.save(partial)
        self._ranks.wait()
        if self._ranks.is_main:
            state = {"step": step, "ranks": self._ranks.size}
            with writing(partial):
                (partial / "checkpoint.json").write_text(json.dumps(state), encoding="utf-8")
                shutil.rmtree(target, ignore_errors=True)
                partial.rename(target)
            for old in self._complete()[: -self._keep]:
                shutil.rmtree(old)
        self._ranks.wait()

    def _require(self, needed: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if free < needed:
            raise CheckpointError(
                f"{self._folder}: checkpoints need {needed / 1e6:,.0f} MB and the disk has "
                f"{free / 1e6:,.0f} MB left; free some, then start again or continue with --resume"
            )
