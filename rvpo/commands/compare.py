"""`rvpo compare`: train what is missing, then say what the runs show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rvpo.commands.needs import of_training
from rvpo.compare.benchmarks import benchmark_counts, uncovered
from rvpo.compare.comparison import Comparison
from rvpo.compare.execute import default_jobs, train_missing
from rvpo.compare.lost import lost
from rvpo.compare.neglect import BETTER, OF_THRESHOLDS, Scale, of_columns
from rvpo.compare.render import explain, render
from rvpo.compare.verdict import verdict, verdict_json
from rvpo.config.levels import disputed, good_enough
from rvpo.config.rewards import RubricRewardConfig
from rvpo.config.run import RunConfig
from rvpo.errors import ConfigError
from rvpo.report.held_out import HeldOutScores
from rvpo.report.run_folder import write_json
from rvpo.runtime.console import PlainConsole
from rvpo.runtime.extras import Need, require


def compare(
    comparison: Comparison,
    jobs: int | None,
    satisfied: Mapping[str, float],
    primary: Sequence[str],
) -> None:
    """Run a comparison and print its verdict, also written to `verdict.json` in its folder.

    Raises:
        ConfigError: the runs have no held-out prompts, a threshold is for no reward, or a primary
            metric is none, or arms declare different scores as good enough, or packages that this
            takes are not installed.
        CheckpointError: a run failed.
    """
    missing = (run for run in comparison.runs if not run.is_done)
    needs = [need for run in missing for need in of_training(run.config)]
    require("rvpo compare", *(needs or [Need("report")]))
    console = PlainConsole()
    config = comparison.runs[0].config
    if config.data.held_out is None:
        raise ConfigError(
            f"{comparison.file}: data.held_out is missing, and arms are compared on prompts that "
            "nobody trained on; add it"
        )
    _check_names(satisfied, primary, tuple(config.rewards), _open_names(config))
    declared = _declared(comparison, satisfied)
    try:
        train_missing(comparison, jobs or default_jobs(config.distributed.processes), console)
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on with what is missing")
        raise
    for problem in comparison.unequal_starts():
        console.print(f"note: {problem}, so runs of a seed differ by sampling too", style="yellow")
    evaluations = {
        arm.name: [run.evaluations() for run in comparison.of_arm(arm)] for arm in comparison.arms
    }
    columns = _columns(evaluations)
    folders = {arm.name: [run.folder for run in comparison.of_arm(arm)] for arm in comparison.arms}
    benchmarks = benchmark_counts(folders)
    unknown = lost(evaluations) + uncovered(folders)
    for gap in unknown:
        console.print(f"note: {gap}", style="yellow")
    scores = {
        name for runs in benchmarks.values() for run in runs for s in run.values() for name in s
    }
    _check_names(satisfied, primary, (*columns, *scores), ())
    thresholds = of_columns(columns, declared) | dict(satisfied)
    rows, scale = verdict(evaluations, thresholds, primary, benchmarks)
    _tell_unknown(scale, columns, primary, console)
    for stage in ("final", "peak"):
        console.print(render(rows, stage, comparison.seeds))
    console.print(explain(scale, columns))
    path = comparison.output / "verdict.json"
    write_json(path, {**verdict_json(rows, scale, columns), "unknown": unknown})
    console.print(f"verdict {path}")


def _declared(comparison: Comparison, given: Iterable[str]) -> dict[str, float]:
    """Scores that the settings of all arms say are good enough, by reward.

    Args:
        given: names of rewards or parts whose thresholds the command gives.
    """
    rewards = [run.config.rewards for run in comparison.runs]
    settled = {name.partition("/")[0] for name in given}
    for name in disputed(rewards):
        if name not in settled:
            raise ConfigError(
                f"--vary: rewards.{name}.satisfied differs between arms, which are compared by one "
                f"threshold; give it: --satisfied {name}=NUMBER"
            )
    return good_enough(rewards)


def _tell_unknown(
    scale: Scale, columns: Sequence[str], primary: Iterable[str], console: PlainConsole
) -> None:
    """Say of which columns it is not known what is good enough, and what is left out for it."""
    if scale.is_known:
        return
    limits = zip(columns, scale.thresholds.tolist(), strict=True)
    names = [name for name, limit in limits if math.isnan(limit)]
    why = (
        f"it is not known from which score on {', '.join(names)} satisfies: settings say nothing, "
        "and scores lie outside 0 to 1, or arms say differently; give it: "
        + " ".join(f"--satisfied {name}=NUMBER" for name in names)
    )
    for metric in OF_THRESHOLDS:
        if metric in primary:
            raise ConfigError(f"--primary {metric}: {why}")
    console.print(f"note: without {' and '.join(OF_THRESHOLDS)}: {why}", style="yellow")


def _open_names(config: RunConfig) -> tuple[str, ...]:
    """Rewards and benchmarks whose parts have names of their own, some only after training."""
    parted = (
        name
        for name, reward in config.rewards.items()
        if isinstance(reward, RubricRewardConfig) or reward.parts
    )
    return (*parted, *config.evaluate.benchmarks.chosen())


def _check_names(
    satisfied: Iterable[str], primary: Iterable[str], names: Sequence[str], parents: Sequence[str]
) -> None:
    """Refuse what names no reward or score.

    Args:
        names: those that are known.
        parents: any part of these will do for now.
    """
    for option, given, known in (
        ("--satisfied", satisfied, names),
        ("--primary", primary, (*names, *BETTER)),
    ):
        for name in given:
            if name not in known and name.partition("/")[0] not in parents:
                raise ConfigError(
                    f"{option} {name}: there is no such {'reward' if known is names else 'metric'};"
                    f" there are {', '.join((*known, *(f'{parent}/...' for parent in parents)))}"
                )


def default_output(file: Path) -> Path:
    """Default folder for the runs of a comparison."""
    return Path("runs") / f"compare-{file.stem}"


def read_thresholds(texts: Sequence[str]) -> dict[str, float]:
    """`name=number` each.

    Raises:
        ConfigError: one cannot be read.
    """
    found = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            threshold = float(value)
        except ValueError:
            threshold = math.nan
        if name in found:
            raise ConfigError(f"--satisfied {name}: given twice; name it once")
        if name and math.isfinite(threshold):
            found[name] = threshold
        else:
            raise ConfigError(
                f"--satisfied {text}: cannot be read; write reward=number, such as correctness=3"
            )
    return found


def _columns(evaluations: Mapping[str, Sequence[Mapping[int, HeldOutScores]]]) -> tuple[str, ...]:
    return next(e.columns for runs in evaluations.values() for run in runs for e in run.values())
