"""The table of criteria that are not alive."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from rvpo.advantage.state import STATES, Life
from rvpo.config.run import dump_config
from rvpo.page.build import page_of
from rvpo.page.criteria import ADVICE, SHOWN, CriteriaTable, criteria_tables
from rvpo.page.history import read_arms
from rvpo.report.run_folder import RunFolder
from tests.configs import tiny_config

Numbers = tuple[float | None, float, float | None]
"""Share met, share of constant groups, pull."""

OF: Mapping[Life, Numbers] = {
    "alive": (0.5, 0.1, 0.2),
    "saturated": (1.0, 1.0, 0.0),
    "dead": (0.5, 1.0, 0.0),
    "unexplored": (0.0, 1.0, None),
    "suppressed": (0.4, 0.1, -0.2),
}


def table(path: Path, steps: Sequence[Mapping[str, Numbers]]) -> CriteriaTable:
    folder = RunFolder.create(path, dump_config(tiny_config(Path("model"), path)), {})
    lines = []
    for step, criteria in enumerate(steps, start=1):
        row: dict[str, float | None] = {"step": step}
        for name, (met, constant, pull) in criteria.items():
            row |= {f"rewards/{name}/mean": 0.5, f"rewards/{name}/met_frac": met}
            row |= {f"rewards/{name}/zero_std_frac": constant, f"advantage/pull/{name}": pull}
        known = {name: x for name, x in row.items() if x is not None}
        lines.append(json.dumps(known) + "\n")
    folder.metrics.write_text("".join(lines))
    (found,) = criteria_tables(read_arms([path]))
    return found


def test_those_not_alive_are_listed_the_most_severe_first(tmp_path: Path) -> None:
    found = table(tmp_path / "run", [{str(state): OF[state] for state in OF}] * 12)
    assert [row.state for row in found.rows] == list(STATES[:-1])
    assert all(row.name == row.state and row.advice == ADVICE[row.state] for row in found.rows)
    assert found.count == "5 criteria: 1 suppressed, 1 unexplored, 1 dead, 1 saturated, 1 alive"
    assert found.more == 0


def test_of_hundreds_of_parts_the_worst_are_listed_and_the_others_counted(tmp_path: Path) -> None:
    names = {f"rubric/{n}": OF["dead"] for n in range(300)} | {"rubric/bad": OF["suppressed"]}
    found = table(tmp_path / "run", [names] * 4)
    assert len(found.rows) == SHOWN
    assert found.more == 301 - SHOWN
    assert found.rows[0].name == "rubric/bad"
    assert found.count == "301 criteria: 1 suppressed, 300 dead"


def test_since_when_is_the_first_step_of_the_state_that_lasts(tmp_path: Path) -> None:
    steps = [{"a": OF["alive"]}] * 3 + [{"a": OF["unexplored"]}] * 14
    (row,) = table(tmp_path / "run", steps).rows
    assert row.state == "unexplored"
    assert row.since == 13  # from here on the window holds no other step


@pytest.mark.parametrize(("pulls", "count"), [((-0.3, 0.29), "1 alive"), ((-0.3, -0.2), "1 supp")])
def test_a_pull_below_0_by_chance_suppresses_nothing(
    pulls: tuple[float, float], count: str, tmp_path: Path
) -> None:
    found = table(tmp_path / "run", [{"a": (0.4, 0.1, pull)} for pull in pulls * 5])
    assert count in found.count


def test_one_step_cannot_suppress(tmp_path: Path) -> None:
    assert "1 alive" in table(tmp_path / "run", [{"a": OF["suppressed"]}]).count


def test_runs_without_such_numbers_have_no_table(tmp_path: Path) -> None:
    path = tmp_path / "run"
    folder = RunFolder.create(path, dump_config(tiny_config(Path("model"), path)), {})
    folder.metrics.write_text(json.dumps({"step": 1, "rewards/a/mean": 0.5}) + "\n")
    assert criteria_tables(read_arms([path])) == []


def test_the_page_shows_the_criteria_with_what_to_do(tmp_path: Path) -> None:
    found = table(tmp_path / "run", [{"<kind>": OF["suppressed"]}] * 5)
    arms = read_arms([tmp_path / "run"])
    shown = page_of([tmp_path / "run"], arms, [], [])
    assert '<section id="criteria">' in shown
    assert "&lt;kind&gt;" in shown
    assert found.rows[0].advice in shown
