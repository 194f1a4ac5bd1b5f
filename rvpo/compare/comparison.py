"""The runs of a comparison: which there are, which are done, and whether they are comparable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

from rvpo.compare.arm import OWN, Arm, parse_arms
from rvpo.config import document
from rvpo.config.diff import changed_settings, identity
from rvpo.config.judges import asked
from rvpo.config.rewards import JudgedRewardConfig
from rvpo.config.run import RunConfig, load_config
from rvpo.errors import CheckpointError, ConfigError
from rvpo.report.held_out import HeldOutScores
from rvpo.report.run_folder import RunFolder
from rvpo.report.sample_files import samples_of
from rvpo.schedule import is_due


@dataclass(frozen=True)
class Run:
    """One arm with one seed."""

    arm: Arm
    seed: int
    file: Path
    """The configuration that all share."""
    settings: tuple[str, ...]
    """Settings that replace those of `file`."""

    @cached_property
    def config(self) -> RunConfig:
        """Every setting."""
        return load_config(self.file, self.settings)

    @property
    def folder(self) -> RunFolder:
        """Folder that it trains in."""
        return RunFolder(self.config.output)

    @property
    def steps_done(self) -> int:
        """Steps that its metrics tell of."""
        rows = self.folder.read_metrics()
        return int(rows[-1]["step"]) if rows else 0

    @property
    def is_begun(self) -> bool:
        """True where there is something to resume."""
        return self.folder.config.exists()

    @property
    def is_done(self) -> bool:
        """True where nothing is left to do."""
        scored = self.config.data.held_out is None or self.folder.held_out.exists()
        return self.steps_done >= self.config.steps and self.folder.curves.exists() and scored

    def evaluation(self, step: int) -> HeldOutScores:
        """Held-out scores after `step` updates."""
        return HeldOutScores.read(self.folder.evaluation(step))

    def evaluations(self) -> dict[int, HeldOutScores]:
        """All of them, by step.

        Raises:
            CheckpointError: one that there must be is missing, or is damaged.
        """
        found = {step: self.evaluation(step) for step in self.folder.evaluated()}
        every, steps = self.config.evaluate.every, self.config.steps
        for step in range(steps + 1):
            if is_due(step, every, steps) and step not in found:
                raise CheckpointError(
                    f"{self.folder.evaluation(step)} is missing; bring it back, or move "
                    f"{self.folder.path} elsewhere and give the same command again, which trains "
                    "that run anew"
                )
        return found


@dataclass(frozen=True)
class Comparison:
    """Every arm with every seed.

    Args:
        file: the configuration that all share.
        settings: `section.key=value` for all of them.
        output: folder of the runs' folders.
    """

    file: Path
    settings: tuple[str, ...]
    arms: tuple[Arm, ...]
    seeds: int
    output: Path

    @classmethod
    def of(
        cls, file: Path, settings: Sequence[str], vary: Sequence[str], seeds: int, output: Path
    ) -> Comparison:
        """A comparison whose settings are all valid.

        Raises:
            ConfigError: an arm is not a run, or a run in `output` was made with other settings.
        """
        found = cls(file, tuple(settings), parse_arms(vary), seeds, output)
        for run in found.runs:
            _check_stored(run)
        found.check_settings()
        return found

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """Seed by seed, so that each seed is a whole comparison as soon as possible."""
        return tuple(self._run(arm, seed) for seed in range(self.seeds) for arm in self.arms)

    def of_arm(self, arm: Arm) -> tuple[Run, ...]:
        """The runs of an arm, by seed."""
        return tuple(run for run in self.runs if run.arm == arm)

    def check_settings(self) -> None:
        """Make sure that runs differ in what varies, and in nothing else.

        Raises:
            ConfigError: they differ in something else, or two arms in nothing.
        """
        self._check_length()
        varied = {s.partition("=")[0] for arm in self.arms for s in arm.settings}
        free = (*OWN, *varied)
        first = self.runs[0].config
        for run in self.runs:
            others = changed_settings(first, run.config, free)
            if others:
                raise ConfigError(
                    f"{run.arm.name}: differs from {self.runs[0].arm.name} in {', '.join(others)} "
                    "as well, so a difference could come from that; vary one thing"
                )
        of_seed = [run for run in self.runs if run.seed == 0]
        for run, other in combinations(of_seed, 2):
            if not changed_settings(run.config, other.config, OWN):
                raise ConfigError(
                    f"--vary: {run.arm.name} and {other.arm.name} are the same run; name each once"
                )
            if differ := _judged_differently(run.config, other.config):
                raise ConfigError(
                    f"--vary: {run.arm.name} and {other.arm.name} have {differ} of held-out "
                    "prompts scored by different judges, whose scores are not comparable; add "
                    "evaluate.judge=NAME, one of judges that examines all arms"
                )

    def _check_length(self) -> None:
        """Refuse runs that a rule may end: what they did is compared after the same steps."""
        for run in self.runs:
            gold = run.config.evaluate.gold
            if gold is not None and gold.stop is not None:
                raise ConfigError(
                    f"{run.arm.name}: evaluate.gold.stop may end one run before others, and runs "
                    "are compared after the same steps; leave it out: evaluate.gold.stop=null"
                )

    def unequal_starts(self) -> list[str]:
        """Differences between the first steps of a seed's arms, a sentence each; none if all goes
        well.

        Before the first update all arms have the same weights, so with the same sampling seeds
        their first rollouts are the same samples.
        """
        return [problem for seed in range(self.seeds) for problem in self._unequal(seed)]

    def _unequal(self, seed: int) -> Iterator[str]:
        runs = [run for run in self.runs if run.seed == seed]
        first = [_first_rollout(run) for run in runs]
        for run, samples in zip(runs[1:], first[1:], strict=True):
            pairs = f"seed {seed}: {runs[0].arm.name} and {run.arm.name}"
            if [s[0] for s in samples] != [s[0] for s in first[0]]:
                yield f"{pairs} began with different prompts"
            elif samples != first[0]:
                yield f"{pairs} began with different samples of the same prompts"

    def _run(self, arm: Arm, seed: int) -> Run:
        own = (
            f"output={self.output / arm.folder / f'seed-{seed}'}",
            f"seed={seed}",
            f"report.group={document.dump_value(self.output.name)}",
            f"report.arm={document.dump_value(arm.name)}",
        )
        return Run(arm, seed, self.file, (*self.settings, *arm.settings, *own))


def _judged_differently(config: RunConfig, other: RunConfig) -> str:
    """Rewards whose scores of held-out prompts would be those of different judges."""
    if config.data.held_out is None:
        return ""
    examiners, others = _examiners(config), _examiners(other)
    differ = [name for name in examiners if examiners[name] != others.get(name, examiners[name])]
    return ", ".join(differ)


def _examiners(config: RunConfig) -> dict[str, Any]:
    """All that the judge's verdicts on held-out prompts depend on, by judged reward."""
    judges = config.every_judge
    judged = {n: r for n, r in config.rewards.items() if isinstance(r, JudgedRewardConfig)}
    return {
        name: identity(judges[asked(config.evaluate.judge or reward.judge, judges)])
        for name, reward in judged.items()
    }


def _check_stored(run: Run) -> None:
    if not run.is_begun:
        return
    stored = run.folder.config
    changed = changed_settings(load_config(stored), run.config, ("output", "report"))
    if changed:
        raise ConfigError(
            f"{stored}: this run was made with other settings in {', '.join(changed)}; compare in "
            "another folder: --output runs/NAME"
        )


def _first_rollout(run: Run) -> list[tuple[Any, Any]]:
    rows = samples_of(run.folder, 1)
    return [(row["prompt_id"], row["completion"]) for row in rows]
