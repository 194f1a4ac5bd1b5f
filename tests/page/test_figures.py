"""Figures of many rewards: everything that is drawn is named, and no name is cut off."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl
import pytest

from rvpo.config.run import dump_config
from rvpo.page.figures import plots
from rvpo.page.history import read_arms
from rvpo.page.panels import THEMES
from rvpo.report.curves import COLOURS, line_styles
from rvpo.report.run_folder import RunFolder
from tests.configs import tiny_config


def run(path: Path, names: list[str]) -> Path:
    folder = RunFolder.create(path, dump_config(tiny_config(Path("model"), path)), {})
    for step in (1, 2):
        row: dict[str, float] = {"step": step}
        for number, name in enumerate(names):
            row |= {f"rewards/{name}/mean": number, f"advantage/weight/{name}": number}
        with folder.metrics.open("a") as file:
            file.write(json.dumps(row) + "\n")
    sample = {
        **{"step": 2, "prompt_id": "a", "prompt": [], "completion": "x", "advantage": 0.0},
        **{"failures": {}, "remarks": {}, "scores": {}},
    }
    rows = [sample | {"z": dict.fromkeys(names, z)} for z in (-1.0, 1.0)]
    folder.samples.mkdir()
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder.samples / "step-000002.rank-0.jsonl").write_text(text)
    return path


@pytest.mark.parametrize(("count", "arms"), [(17, 1), (57, 1), (40, 2)])
def test_every_reward_is_named_within_the_figure(count: int, arms: int, tmp_path: Path) -> None:
    names = [f"rubric/{number + 1}" for number in range(count)]
    runs = read_arms([run(tmp_path / f"arm-{arm}", names) for arm in range(arms)])
    theme = THEMES["light"]
    found = {plot.title: plot for plot in plots(runs, {})}
    with mpl.rc_context(theme.rc()):
        figure = found["Weights in the gradient"].draw(theme)
        figure.draw_without_rendering()
        matrix = found["Rewards that pull together or apart"].draw(theme)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    inside, whole = legend.get_window_extent(), figure.bbox
    assert whole.x0 <= inside.x0 < inside.x1 <= whole.x1
    assert whole.y0 <= inside.y0 < inside.y1 <= whole.y1
    assert all(inside.y1 <= axes.get_tightbbox().y0 for axes in figure.axes if axes.get_visible())
    assert [text.get_text() for text in matrix.axes[0].get_xticklabels()] == names


def test_a_hundred_lines_are_told_apart() -> None:
    styles = [tuple(map(str, style.items())) for style in line_styles(112, COLOURS)]
    assert len(set(styles)) == 112


def test_each_of_several_judges_has_a_figure(tmp_path: Path) -> None:
    def titles(path: Path, *prefixes: str) -> list[str]:
        folder = RunFolder(run(path, ["care"]))
        row = {"step": 3, **{f"{prefix}/requests": 7.0 for prefix in prefixes}}
        with folder.metrics.open("a") as file:
            file.write(json.dumps(row) + "\n")
        return [plot.title for plot in plots(read_arms([path]), {}) if "udge" in plot.title]

    several = ("judge", "judge/care", "judges/gold", "judges/cheap")
    assert titles(tmp_path / "two", *several) == ["The judges", "Judge cheap", "Judge gold"]
    assert titles(tmp_path / "one", "judge", "judge/care") == ["The judge"]
