"""The shipped runs that belong together differ in what they say they do, and in nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rvpo.config.run import load_config

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
RUBRIC_RUNS = [f"{data}_{size}b" for data in ("healthbench", "rar_science") for size in (3, 7, 14)]
TOOL_RUNS = ["toolrl_1.5b", "toolrl_3b"]


def sections(name: str, *without: str) -> dict[str, Any]:
    settings = load_config(EXPERIMENTS / f"{name}.yaml").model_dump(mode="json")
    return {key: value for key, value in settings.items() if key not in ("output", *without)}


@pytest.mark.parametrize("name", RUBRIC_RUNS + TOOL_RUNS)
def test_siblings_differ_in_the_advantage_alone(name: str) -> None:
    runs = [sections(run) for run in (name, f"{name}_grpo", f"{name}_gdpo")]
    assert [run.pop("advantage")["name"] for run in runs] == ["rvpo", "grpo", "gdpo"]
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize("family", [RUBRIC_RUNS[:3], RUBRIC_RUNS[3:], TOOL_RUNS])
def test_sizes_differ_in_the_model_alone(family: list[str]) -> None:
    first, *others = [sections(name, "model") for name in family]
    assert all(other == first for other in others)
    models = {load_config(EXPERIMENTS / f"{name}.yaml").model.path for name in family}
    assert len(models) == len(family)


def test_the_domains_differ_in_the_data_alone() -> None:
    assert sections("healthbench_7b", "data") == sections("rar_science_7b", "data")


def test_the_holistic_baseline_differs_in_reward_and_advantage() -> None:
    away = ("rewards", "advantage")
    assert sections("rar_science_7b_implicit", *away) == sections("rar_science_7b", *away)
    assert sections("rar_science_7b_implicit")["rewards"]["rubric"]["rubric"] == "implicit"
