"""`rvpo advise`: the estimator that suits a run, by the scores of its first steps."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.console import Console

from rvpo.replay.advice import advise
from rvpo.replay.display import show_advice
from rvpo.replay.measured import measured
from rvpo.replay.stored_run import StoredRun
from rvpo.report.run_folder import write_json

FIRST_STEPS: Final = 10
"""Steps that are read where none are named."""


def advise_run(
    path: Path, steps: str | None, console: Console, json_file: Path | None = None
) -> None:
    """Measure a run's first steps, and print which estimator suits it and why.

    Args:
        path: the run's folder.
        steps: those to read, such as "1-50".
        json_file: takes everything.

    Raises:
        ConfigError: there is no such run, or its steps are not all there.
        CheckpointError: a file is damaged, or one cannot be written.
    """
    run = StoredRun.open(path)
    chosen = run.chosen(f"1-{min(FIRST_STEPS, run.done)}" if steps is None else steps)
    found = measured(list(run.each(chosen)))
    findings = advise(found)
    show_advice(console, found, findings)
    if json_file is not None:
        rewards = [
            {name: None if value == float("inf") else value for name, value in asdict(each).items()}
            for each in found.rewards
        ]
        write_json(
            json_file,
            {
                "steps": chosen,
                "groups": found.groups,
                "live_groups": found.live_groups,
                "rewards": rewards,
                "conflicts": [asdict(pair) for pair in found.conflicts],
                "findings": [each.to_json() for each in findings],
            },
            "with another --json FILE",
        )
