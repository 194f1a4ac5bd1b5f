"""Checkpoints that a kill at any moment cannot spoil."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from rvpo.errors import CheckpointError
from rvpo.report.run_folder import remove, steps_in, writing
from rvpo.runtime.ranks import Ranks, is_of_ranks
from rvpo.trainer.carried import Carried, load, save
from rvpo.trainer.policy import Policy
from rvpo.trainer.seal import Seal


class Checkpoints:
    """`step-000010/` folders, each written under another name and renamed when complete.

    Args:
        folder: theirs; made when the first one is written.
        every: steps between two.
        keep: number of the newest that stay.
        carried: state that is kept with the policy, and restored with it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every: int,
        keep: int,
        ranks: Ranks,
        carried: Sequence[Carried] = (),
    ) -> None:
        self._carried = carried
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

    def holds(self, step: int) -> bool:
        """True where there is one of `step` updates. Every rank must call."""
        return self._ranks.first(self._of(step).is_dir())

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
            CheckpointError: it is not what was written.
            RankError: it is not on another rank.
        """
        # A network's disk may show another rank less: it would go on from an older one.
        complete = self._ranks.first([path.name for path in self._complete()])
        if not complete:
            return 0
        newest = self._folder / complete[-1]
        other = self._folder / complete[-2] if complete[1:] else None
        before = "" if other is None else f"; move it elsewhere to go on from {other}"
        seal = self._intact(newest, before)
        try:
            policy.load(newest)
            load(newest, self._carried)
        except CheckpointError as error:
            raise CheckpointError(f"{error}{before}") from error
        except Exception as error:  # PyTorch and DeepSpeed raise anything at a foreign file
            if is_of_ranks(error):  # the checkpoint is as good as it was
                raise
            raise CheckpointError(
                f"{newest} cannot be loaded ({type(error).__name__}: {error}){before}"
            ) from error
        return seal.step

    def _intact(self, folder: Path, before: str) -> Seal:
        """The seal of a checkpoint that is as it was written.

        Args:
            before: the way to go on without it.
        """
        with self._ranks.together():
            try:
                seal = Seal.read(folder)
            except CheckpointError as error:
                raise CheckpointError(f"{error}{before}") from error
        if seal.step != int(folder.name[5:]):
            raise CheckpointError(f"{folder} is damaged (it holds step {seal.step}){before}")
        if broken := seal.broken(folder, self._ranks):
            raise CheckpointError(f"{folder} is damaged ({broken}){before}")
        return seal

    def _of(self, step: int) -> Path:
        return self._folder / f"step-{step:06d}"

    def _complete(self) -> list[Path]:
        return sorted(path for path in steps_in(self._folder) if path.is_dir())

    def _save(self, step: int, policy: Policy) -> None:
        target = self._of(step)
        partial = target.with_name(target.name + ".partial")
        if self._ranks.is_main:
            with writing(partial):
                for leftover in self._folder.glob("*.partial"):
                    remove(leftover)
                partial.mkdir(parents=True)
            self._require(policy.checkpoint_bytes)
        self._ranks.wait()
        policy.save(partial)
        if self._ranks.is_main:
            save(partial, self._carried)
        self._ranks.wait()
        seal = Seal.of(partial, step, self._ranks)
        if self._ranks.is_main:
            seal.write(partial)
            with writing(partial):
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
