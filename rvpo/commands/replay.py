"""`rvpo replay`: another estimator's lesson from a run's stored scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rvpo.errors import ConfigError
from rvpo.replay.display import about, show_replay
from rvpo.replay.estimators import estimators_of, title
from rvpo.replay.judged import JudgedAgain
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
    judged: Path | None = None,
) -> None:
    """Replay a run's steps by other estimators, and print what comes of it.

    Args:
        path: the run's folder.
        advantages, ks: see `estimators_of`.
        steps: those to read, such as "1,20-40"; all of the run if left out.
        json_file: takes everything.
        page: takes an HTML page.
        judged: file that `rvpo judge --json` wrote of the samples, whose scores take the place of
            those that trained.

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
    if judged is None:
        chosen = run.chosen(steps)
        scores = run.each(chosen)
    else:
        chosen = run.steps if steps is None else run.chosen(steps)
        scores = JudgedAgain.read(judged, run.config).each(run, chosen)
    with console.status(f"replaying {len(chosen):,} steps"):
        found = replay(scores, (title(own), own), others)
    if judged is not None and not found.own.steps:
        raise ConfigError(
            f"--judged {judged}: holds the samples of no whole step of {path}; judge them first: "
            f"rvpo judge --samples {path}/samples/FILE --json {judged}"
        )
    show_replay(console, run, found, judged)
    if json_file is not None:
        write_json(json_file, found.to_json(), "with another --json FILE")
    if page is not None:
        from rvpo.page.replay import write_replay_page

        told = about(run, found, judged)
        console.print(f"page {write_replay_page(path.resolve().name, told, found, page)}")
