"""`rvpo replay`: what another estimator would have taught, from a run's stored scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rvpo.replay.display import show_replay
from rvpo.replay.estimators import estimators_of, title
from rvpo.replay.replayed import replay
from rvpo.replay.stored_run import StoredRun
from rvpo.report.run_folder import write_json
from rvpo.runtime.extras import Need, require


def replay_run(
    path: Path,
    advantages: Sequence[str],
    ks: Sequence[float],
    steps: str | None,
    console: Console,
    json_file: Path | None = None,
    page: Path | None = None,
) -> None:
    """Replay a run's steps by other estimators, and print what comes of it.

    Args:
        path: the run's folder.
        advantages, ks: see `estimators_of`.
        steps: those to read, such as "1,20-40"; all of the run if left out.
        json_file: takes everything.
        page: takes an HTML page.

    Raises:
        ConfigError: there is no such run, its steps are not all there, or an estimator is none.
        CheckpointError: a file is damaged, or one cannot be written.
        RewardError: an estimator cannot read the scores.
    """
    if page is not None:
        require("rvpo replay --page", Need("report"))
    run = StoredRun.open(path)
    own = run.config.advantage
    others = estimators_of(advantages, ks, own)
    chosen = run.chosen(steps)
    with console.status(f"replaying {len(chosen):,} steps"):
        found = replay(run.each(chosen), (title(own), own), others)
    show_replay(console, run, found)
    if json_file is not None:
        write_json(json_file, found.to_json())
    if page is not None:
        from rvpo.page.replay import write_replay_page

        console.print(f"page {write_replay_page(run, found, page)}")
