"""The page shows how reliable criteria are, and says where a soft minimum follows noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from rvpo.config.run import dump_config
from rvpo.page.figures import notes, plots
from rvpo.page.history import PageArm, read_arms
from rvpo.page.panels import THEMES
from rvpo.report.run_folder import RunFolder
from tests.configs import tiny_config

JUDGE = {"model": "judge", "endpoints": [{"url": "http://127.0.0.1:9/v1"}], "repeat": 2}


def arms(path: Path, noisy: float | None, *, weighs: bool = False) -> tuple[PageArm, ...]:
    """A run whose criterion `coin` is noise, and `steady` is not."""
    config = tiny_config(
        Path("model"),
        path / "run",
        rewards={"care": {"rubric": "channels"}},
        judge=JUDGE,
        advantage={"name": "rvpo", "weight_by_reliability": weighs},
    )
    folder = RunFolder.create(path / "run", dump_config(config), {})
    lines = []
    for step in range(1, 4):
        row: dict[str, Any] = {"step": step, "rewards/care/mean": 0.5}
        for part, value in {"care": 0.5, "care/coin": 0.08, "care/steady": 0.9}.items():
            if noisy is not None and step > 1:  # nothing is known after the first step
                row |= {f"judge/{part}/reliability": value}
                row |= {f"judge/{part}/reliability_low": value - 0.05}
                row |= {f"judge/{part}/reliability_high": value + 0.05}
                row |= {"advantage/noisy_bottleneck": noisy}
        lines.append(json.dumps(row) + "\n")
    folder.metrics.write_text("".join(lines))
    return read_arms([path])


def test_each_criterion_has_a_panel_with_its_interval(tmp_path: Path) -> None:
    found = {plot.title: plot for plot in plots(arms(tmp_path, 0.4), {})}
    theme = THEMES["light"]
    with mpl.rc_context(theme.rc()):
        figure = found["Reliability of criteria"].draw(theme)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == ["care/coin", "care/steady"]
    assert all(axes.collections for axes in panels)


def test_noise_that_decides_is_told_of_with_the_criteria_and_what_to_do(tmp_path: Path) -> None:
    (note,) = notes(arms(tmp_path, 0.4))
    assert "40% of the samples were lowest, beside siblings, in a reward of" in note
    assert "(care/coin 0.08, 0.03 to 0.13)" in note
    assert "advantage.weight_by_reliability: true shrinks such scores" in note


def test_a_run_that_shrinks_them_is_not_told_to(tmp_path: Path) -> None:
    (note,) = notes(arms(tmp_path, 0.4, weighs=True))
    assert note.endswith("its scores are shrunk by that.")


@pytest.mark.parametrize("noisy", [None, 0.02])
def test_little_noise_is_no_note(noisy: float | None, tmp_path: Path) -> None:
    runs = arms(tmp_path, noisy)
    assert notes(runs) == []
    assert ("Reliability of criteria" in [p.title for p in plots(runs, {})]) == (noisy is not None)
