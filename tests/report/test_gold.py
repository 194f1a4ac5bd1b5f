"""A gap counts what both judges said, and what one of them did not say is no 0."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rvpo.errors import CheckpointError
from rvpo.report.gold import GoldScores
from rvpo.report.gold_table import gold_changes, gold_json, render_gold, warnings_of
from rvpo.report.metrics import entry_of
from rvpo.report.run_folder import RunFolder, write_json
from tests.fakes import make_scores

Rows = list[list[float | None]]
verdicts = st.sampled_from([0.0, 1.0, None])


def both(training: Rows, gold: Rows, group_size: int = 2) -> GoldScores:
    names = [f"c{n}" for n in range(len(training[0]))]
    first, second = (make_scores(rows, names, group_size) for rows in (training, gold))
    ids = [str(p) for p in range(len(training) // group_size)]
    return GoldScores.of(first, second, ids, "gold")


def test_a_verdict_that_either_judge_lacks_is_in_no_gap() -> None:
    found = both(
        [[1.0], [1.0], [1.0], [None]],
        [[0.0], [None], [1.0], [0.0]],
    )
    assert found.gaps.tolist() == [[1.0], [0.0]]
    assert found.missing.tolist() == [0.5]
    assert found.metrics() == {
        "judge_gap/c0": 0.5,
        "judge_gap_only_training/c0": 0.5,
        "judge_gap_only_gold/c0": 0.0,
        "judge_gap_missing/c0": 0.5,
        "eval/gold/rewards/c0/mean": 0.25,  # of all that gold said: 0, and the mean of 1 and 0
    }


def test_a_gold_judge_that_said_nothing_leaves_no_gap() -> None:
    found = both([[1.0], [0.0]], [[None], [None]])
    assert found.metrics() == {"judge_gap_missing/c0": 1.0}
    assert found.mean("gaps", "c0") is None


@given(
    st.lists(st.tuples(verdicts, verdicts), min_size=2, max_size=24).filter(
        lambda x: len(x) % 2 == 0
    )
)
def test_the_gap_is_the_mean_over_prompts_of_the_difference_over_pairs(
    pairs: list[tuple[float | None, float | None]],
) -> None:
    found = both([[a] for a, _ in pairs], [[b] for _, b in pairs])
    by_prompt = []
    for start in range(0, len(pairs), 2):
        known = [a - b for a, b in pairs[start : start + 2] if a is not None and b is not None]
        if known:
            by_prompt.append(sum(known) / len(known))
    gap = found.mean("gaps", "c0")
    if not by_prompt:
        assert gap is None
        return
    assert gap == pytest.approx(sum(by_prompt) / len(by_prompt))
    only = found.mean("only_training", "c0"), found.mean("only_gold", "c0")
    assert None not in only
    assert gap == pytest.approx(only[0] - only[1])  # type: ignore[operator]


@given(st.lists(st.lists(verdicts, min_size=2, max_size=2), min_size=4, max_size=4))
def test_one_judge_against_itself_has_no_gap(rows: Rows) -> None:
    found = both(rows, rows)
    gaps = [found.mean("gaps", name) for name in found.reward_names]
    assert all(gap in (None, 0.0) for gap in gaps)


def test_the_scores_are_read_back_as_they_were(tmp_path: Path) -> None:
    found = both([[1.0, None], [0.0, 1.0]], [[0.0, 1.0], [0.0, None]])
    path = tmp_path / "step-000000.json"
    write_json(path, found.to_json())
    again = GoldScores.read(path)
    assert (again.judge, again.reward_names, again.prompt_ids) == ("gold", ("c0", "c1"), ("0",))
    assert again.metrics() == found.metrics()
    np.testing.assert_array_equal(again.gaps, found.gaps)


@pytest.mark.parametrize(
    "damage", ["{", "[]", {"judge": 3}, {"gold": [[0.0, 0.0]]}, {"missing": []}, {"prompt_ids": []}]
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "step-000000.json"
    good = both([[1.0], [0.0]], [[0.0], [0.0]]).to_json()
    path.write_text(damage if isinstance(damage, str) else json.dumps(good | dict(damage)))  # type: ignore[call-overload]
    with pytest.raises(CheckpointError, match=r"is damaged .*move it elsewhere to go on without"):
        GoldScores.read(path)


def test_matrices_of_different_samples_do_not_pair() -> None:
    one, other = make_scores([[1.0]] * 2, ["a"]), make_scores([[1.0]] * 4, ["a"])
    with pytest.raises(ValueError, match="the same samples by the same rewards"):
        GoldScores.of(one, other, ["0"], "gold")


def test_every_metric_has_its_sentence() -> None:
    found = both([[1.0], [0.0]], [[0.0], [1.0]]).metrics()
    assert {entry_of(name) for name in found} == {
        "judge_gap/{reward}",
        "judge_gap_only_training/{reward}",
        "judge_gap_only_gold/{reward}",
        "judge_gap_missing/{reward}",
        "eval/gold/rewards/{reward}/mean",
    }


def test_the_table_says_who_gained_with_which_judge() -> None:
    before = both([[0.0]] * 16, [[0.0], [1.0]] * 8)
    after = both([[1.0]] * 16, [[0.0], [0.0]] * 8)
    changes = gold_changes(before, after)
    (change,) = changes
    assert (change.training.difference, change.gold.difference) == (1.0, -0.5)
    assert change.gap.difference == 1.5
    assert change.gap.p_value is not None
    assert change.gap.p_value < 0.05
    (warning,) = warnings_of(changes, "gold")
    assert "c0: judge 'gold' sees no gain (-0.500)" in warning
    console = Console(width=200, record=True, quiet=True)
    console.print(render_gold(changes, "gold"))
    told = gold_json(changes, "gold")
    assert told["rewards"]["c0"]["gap"]["difference"] == 1.5
    json.dumps(told, allow_nan=False)


def test_no_warning_where_gold_sees_the_gain_too_or_chance_explains_it() -> None:
    before = both([[0.0]] * 16, [[0.0]] * 16)
    assert list(warnings_of(gold_changes(before, both([[1.0]] * 16, [[1.0]] * 16)), "gold")) == []
    few = both([[1.0], [0.0], *[[0.0]] * 14], [[0.0]] * 16)
    assert list(warnings_of(gold_changes(before, few), "gold")) == []


def test_a_table_of_unknown_scores_has_dashes() -> None:
    lost = both([[None]] * 4, [[None]] * 4)
    (change,) = gold_changes(lost, lost)
    assert change.gap.before is None
    assert math.isclose(change.gap.failed_after, 1.0)
    render_gold([change], "gold")


def test_a_resumed_run_forgets_later_looks(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    look = both([[1.0], [0.0]], [[0.0], [0.0]]).to_json()
    for step in (0, 2, 4):
        write_json(run.gold_scores(step), look)
    assert (run.watched(), run.steps_told()) == ([0, 2, 4], 4)
    run.rewind(2)
    assert run.watched() == [0, 2]
