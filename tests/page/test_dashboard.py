"""The workspace of a run, as it would be sent, without a network."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rvpo.cli import app
from rvpo.config.run import RunConfig, load_config
from rvpo.page.dashboard import workspace, write
from tests.configs import tiny_config

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def specification(config: RunConfig, folder: Path) -> dict[str, Any]:
    write(config, "somebody", folder / "workspace.json")
    found: dict[str, Any] = json.loads((folder / "workspace.json").read_text())
    return found


def sections(spec: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The panels of each section that has a name of ours."""
    found = spec["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in found}


def metrics(panels: list[dict[str, Any]]) -> set[str]:
    return {name for panel in panels for name in panel["config"].get("metrics", [])}


@pytest.mark.parametrize("file", ["healthbench_14b.yaml", "toolrl_1.5b.yaml", "quickstart.yaml"])
def test_every_reward_has_a_section_with_its_curves(file: str, tmp_path: Path) -> None:
    paths = sorted(EXPERIMENTS.glob(f"**/{file}")) or sorted(EXPERIMENTS.glob("toolrl*.yaml"))
    config = load_config(paths[0])
    found = sections(specification(config, tmp_path))
    for name in config.rewards:
        shown = metrics(found[f"Reward: {name}"])
        assert {f"rewards/{name}/mean", f"advantage/bottleneck/{name}"} <= shown
    assert {"Advantages", "Update", "Timing", "Completions"} <= set(found)
    assert ("Judge" in found) == (config.judge is not None)


def test_the_parts_of_a_rubric_are_found_by_a_pattern(tmp_path: Path) -> None:
    config = load_config(EXPERIMENTS / "quickstart_judge.yaml")
    panels = sections(specification(config, tmp_path))["Reward: judged"]
    patterns = [panel["config"].get("metricRegex") for panel in panels]
    assert "^rewards/judged/.+/mean$" in patterns


def test_a_gold_judge_has_a_section_that_finds_its_metrics(tmp_path: Path) -> None:
    watched = ["judges={gold: {serve: {model: m}}}", "evaluate.gold={judge: gold}"]
    path = EXPERIMENTS / "quickstart_judge.yaml"
    panels = sections(specification(load_config(path, watched), tmp_path))["Gold judge"]
    patterns = [panel["config"].get("metricRegex") for panel in panels]
    for name in ("judge_gap/judged/friendly", "eval/gold/rewards/judged/mean"):
        assert [bool(re.search(pattern, name)) for pattern in patterns].count(True) == 1
    assert "Gold judge" not in sections(specification(load_config(path), tmp_path))


def test_each_of_several_judges_has_a_section_with_its_curves(tmp_path: Path) -> None:
    def named(*names: str) -> dict[str, list[dict[str, Any]]]:
        rubric = {"rubric": "channels", "judge": names[0], "criteria": {"kind": "It is kind."}}
        judges = {name: {"serve": name} for name in names}
        config = tiny_config(Path("model"), rewards={"care": rubric}, judges=judges)
        return sections(specification(config, tmp_path))

    found = named("cheap", "gold")
    for name in ("cheap", "gold"):
        assert {f"judges/{name}/requests", f"judges/{name}/cost"} <= metrics(
            found[f"Judge: {name}"]
        )
    assert "judge/cost" in metrics(found["Judge"])
    assert not [name for name in named("gold") if name.startswith("Judge: ")]


def test_reliability_is_drawn_where_judges_are_asked_again(tmp_path: Path) -> None:
    for settings, drawn in (([], False), (["judge.repeat=2"], True)):
        config = load_config(EXPERIMENTS / "quickstart_judge.yaml", settings)
        panels = sections(specification(config, tmp_path))["Reward: judged"]
        patterns = [panel["config"].get("metricRegex") for panel in panels]
        assert ("^judge/judged(/.+)?/reliability$" in patterns) == drawn


def test_runs_are_grouped_by_comparison_and_arm() -> None:
    settings = workspace(tiny_config(Path("model")), "somebody").runset_settings
    assert [metric.name for metric in settings.groupby] == ["Group", "JobType"]


def test_without_an_entity_nothing_is_sent() -> None:
    result = CliRunner().invoke(
        app, ["dashboard", "--config", str(EXPERIMENTS / "quickstart.yaml")]
    )
    assert result.exit_code == 2
