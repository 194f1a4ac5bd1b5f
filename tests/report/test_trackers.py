"""What a tracker has of a run is what `metrics.jsonl` has of it, read back from what it wrote."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rvpo.config.reporting import ReportConfig
from rvpo.errors import ConfigError
from rvpo.report.run_folder import RunFolder
from rvpo.report.trackers import TensorBoard, Trackio, Wandb
from rvpo.report.trackers.tracker import require
from rvpo.trainer.rehearsal import rehearse_trackers
from tests.configs import tiny_config
from tests.fakes import make_record, tracked

Points = dict[str, list[tuple[int, float]]]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", "", {})


def metrics_of(step: int) -> dict[str, float]:
    return {
        "rewards/correct/mean": 0.125 * step,
        "timing/update": 2.0**-20 * step,
        "kl": math.nan if step == 2 else 0.5,
    }


def expected(steps: range) -> Points:
    points: Points = {}
    for step in steps:
        for name, value in metrics_of(step).items():
            if math.isfinite(value):
                points.setdefault(name, []).append((step, value))
    return points


def follow(tracker: Any, folder: RunFolder, steps: range) -> list[str]:
    said: list[str] = []
    report = tracker.open(tracked(folder, said))
    for step in steps:
        report(make_record(step, metrics_of(step)))
    report.close()
    return said


def in_tensorboard(folder: RunFolder) -> Points:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder.path / "tensorboard"), purge_orphaned_data=True)
    events.Reload()
    names = events.Tags()["scalars"]
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in names}


def test_tensorboard_has_every_finite_metric_of_every_step(folder: RunFolder):
    assert follow(TensorBoard(), folder, range(1, 6)) == []
    assert in_tensorboard(folder) == expected(range(1, 6))


def test_steps_that_a_resumed_run_repeats_stand_once_in_tensorboard(folder: RunFolder):
    follow(TensorBoard(), folder, range(1, 6))
    follow(TensorBoard(), folder, range(4, 8))
    assert in_tensorboard(folder) == expected(range(1, 8))


_READ_TRACKIO = """
import json, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from test_trackers import follow
from trackio.sqlite_storage import SQLiteStorage
from rvpo.report.run_folder import RunFolder
from rvpo.report.trackers import Trackio
folder = RunFolder(Path(sys.argv[1]))
said = [follow(Trackio(), folder, range(*part)) for part in json.loads(sys.argv[2])]
(run,) = SQLiteStorage.get_run_records("rvpo")
rows = SQLiteStorage.get_logs("rvpo", run_id=run["id"])
config = SQLiteStorage.get_run_config("rvpo", run_id=run["id"])
print(json.dumps({"rows": rows, "config": config, "said": said}, default=str))
"""


_READ_TWO_RUNS = """
import json, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from test_trackers import follow
from trackio.sqlite_storage import SQLiteStorage
from rvpo.report.run_folder import RunFolder
from rvpo.report.trackers import Trackio
for arm in ("grpo", "rvpo"):
    folder = RunFolder.create(Path(sys.argv[1]) / arm / "seed-0", "", {})
    for part in json.loads(sys.argv[2]):
        follow(Trackio(), folder, range(*part))
runs = SQLiteStorage.get_run_records("rvpo")
rows = [len(SQLiteStorage.get_logs("rvpo", run_id=run["id"])) for run in runs]
print(json.dumps({"names": [run["name"] for run in runs], "rows": rows}))
"""


def in_trackio(
    folder: RunFolder, *parts: tuple[int, int], program: str = _READ_TRACKIO
) -> dict[str, Any]:
    """What Trackio has after a run of those parts; a process of its own, for it reads TRACKIO_DIR
    when it is imported."""
    import json
    import os

    where = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder.path), json.dumps(parts), *where],
        env={
            **os.environ,
            "TRACKIO_DIR": str(folder.path / "trackio"),
            "HF_HUB_OFFLINE": "1",
            "NO_PROXY": "*",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()  # nothing else may reach the terminal
    found: dict[str, Any] = json.loads(line)
    return found


def test_trackio_has_every_finite_metric_of_every_step_once(folder: RunFolder):
    found = in_trackio(folder, (1, 6), (4, 8))
    points: Points = {}
    for row in found["rows"]:
        for name in metrics_of(1):
            if row.get(name) is not None:
                points.setdefault(name, []).append((row["step"], row[name]))
    assert points == expected(range(1, 8))
    assert found["config"]["advantage"] == {"name": "rvpo", "k": 1.0}
    assert found["said"] == [["Trackio has this run: trackio show --project rvpo"]] * 2


def test_folders_of_one_name_are_runs_of_their_own_in_trackio(folder: RunFolder):
    found = in_trackio(folder, (1, 4), (3, 6), program=_READ_TWO_RUNS)
    assert found["rows"] == [5, 5]
    assert len(set(found["names"])) == 2
    assert all("seed-0-" in name for name in found["names"])


def test_trackers_are_listed_by_name_or_with_their_settings():
    report = ReportConfig.model_validate(
        {"trackers": ["tensorboard", {"name": "wandb", "table_every": 3}]}
    )
    assert report.trackers == (TensorBoard(), Wandb(table_every=3))
    assert ReportConfig().trackers == (Wandb(),)


@pytest.mark.parametrize(
    ("wandb", "trackers"), [(True, (Wandb(),)), (False, ())], ids=["with", "without"]
)
def test_wandb_alone_may_be_said_shorter(wandb: bool, trackers: tuple[Any, ...]):
    assert ReportConfig.model_validate({"wandb": wandb}).trackers == trackers


def test_a_tracker_that_is_not_installed_is_told_before_the_run(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"report\.trackers: x needs the package no_such_thing"):
        require("x", "no_such_thing")
    config = tiny_config(tmp_path, report={"trackers": ["tensorboard", "trackio", "wandb"]})
    assert [type(each) for each in config.report.trackers] == [TensorBoard, Trackio, Wandb]
    rehearse_trackers(config)
