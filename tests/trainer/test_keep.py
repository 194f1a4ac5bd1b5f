"""Which model stands in `best/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from rvpo.errors import ConfigError, RewardError
from rvpo.report.best import read_best
from rvpo.report.run_folder import RunFolder
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.checkpoint import Checkpoints
from rvpo.trainer.keep import Keeper
from tests.fakes import on_each_rank


class NoCheckpoints(Checkpoints):
    def after(self, step: int, policy: Any, *, last: bool) -> None:
        pass


@pytest.fixture
def keep(tmp_path: Path, ranks: Ranks) -> Keeper:
    folder = RunFolder(tmp_path)
    checkpoints = NoCheckpoints(folder.checkpoints, every=1, keep=1, ranks=ranks)
    return Keeper(checkpoints, lambda path: path.mkdir(exist_ok=True), folder, ranks, 0, "eval/a")


def best_after(keep: Keeper, step: int, scores: dict[str, float]) -> float | None:
    policy: Any = None
    keep(step, policy, scores, last=False)
    best = read_best(keep.folder)
    return None if best is None else best.step


def test_the_best_model_is_the_first_with_the_highest_value(keep: Keeper) -> None:
    seen = [best_after(keep, n, {"eval/a": v}) for n, v in enumerate((0.2, 0.5, 0.5, 0.4, 0.6))]
    assert seen == [0, 1, 1, 1, 4]


def test_ranks_export_together_or_not_at_all_whatever_their_disks_show(tmp_path: Path) -> None:
    def exports(ranks: Ranks) -> list[int]:
        folder, done, policy = RunFolder(tmp_path / str(ranks.rank)), list[int](), None
        checkpoints = NoCheckpoints(folder.checkpoints, every=1, keep=1, ranks=ranks)

        def export(path: Path) -> None:
            path.mkdir(parents=True, exist_ok=True)
            done.append(1)

        keep = Keeper(checkpoints, export, folder, ranks, 0, "eval/a")
        for step, value in enumerate((0.5, 0.4, 0.6)):
            done.append(0)
            keep(step, cast(Any, policy), {"eval/a": value}, last=False)
        return done

    # Only rank 0 ever sees what rank 0 wrote.
    assert on_each_rank(exports) == [[0, 1, 0, 0, 1]] * 2


def test_an_evaluation_without_the_value_changes_nothing(keep: Keeper) -> None:
    assert best_after(keep, 1, {"eval/b": 1.0}) is None
    assert best_after(keep, 2, {"eval/a": 0.3, "eval/b": 1.0}) == 2
    assert best_after(keep, 3, {"eval/b": 1.0}) == 2
    assert best_after(keep, 4, {}) == 2


def test_a_metric_that_nothing_gives_is_refused_before_training(keep: Keeper) -> None:
    keep.check({"eval/a": 0.0}, {})
    with pytest.raises(ConfigError, match="no evaluation gives 'eval/a'; there are eval/b"):
        keep.check({"eval/b": 0.0}, {"eval/c": "verdicts failed"})


def test_a_metric_that_a_judge_lost_names_the_failure_and_not_the_setting(keep: Keeper) -> None:
    lost = {"eval/a": "verdicts failed: 8 http 500 of judge 'gold'"}
    with pytest.raises(RewardError, match=r"'eval/a' is not known .* 8 http 500 of judge 'gold'"):
        keep.check({"eval/b": 0.0}, lost)
