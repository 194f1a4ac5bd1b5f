"""What `rvpo settings` prints is what the settings are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from rvpo.advantage import Estimator
from rvpo.cli import app
from rvpo.commands.settings import of_section, settings
from rvpo.config.run import load_config
from rvpo.errors import ConfigError
from tests.configs import tiny_config

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def leaves(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}".lstrip("."))
    else:
        yield path


def is_listed(path: str, listed: set[str]) -> bool:
    """A setting is listed under its own path, with NAME for names, or below a table of any keys."""
    parts = path.split(".")
    return any(
        len(each) <= len(parts) and all(a in (b, "NAME") for a, b in zip(each, parts, strict=False))
        for each in (name.split(".") for name in listed)
    )


def test_every_setting_has_help():
    assert [s.path for s in settings() if not s.help] == []


@pytest.mark.parametrize(
    "file", ["quickstart.yaml", "quickstart_judge.yaml", "healthbench_14b.yaml"]
)
def test_every_setting_of_a_run_is_listed(file: str):
    listed = {s.path for s in settings()}
    dumped = load_config(EXPERIMENTS / file).model_dump()
    paths = (path.removesuffix(".name") for path in leaves(dumped))  # the name chooses the kind
    assert [path for path in paths if not is_listed(path, listed)] == []


def test_defaults_are_those_of_a_run(tmp_path: Path):
    config = tiny_config(tmp_path)
    (decay,) = of_section("update.weight_decay")
    assert float(decay.default) == config.update.weight_decay
    assert [s.default for s in of_section("steps")] == ["required"]


def test_settings_of_one_kind_alone_say_so():
    variants = {s.path: s.variants for s in of_section("advantage")}
    assert variants["advantage.beta"] == ("mean_variance",)
    whitened = {
        name for s in of_section("advantage") if s.path == "advantage.whiten" for name in s.variants
    }
    assert whitened == {kind.name for kind in get_args(Estimator)} - {"grpo"}


def test_a_setting_of_two_meanings_is_told_with_each():
    told = [(s.variants, s.help) for s in of_section("advantage.k") if s.path == "advantage.k"]
    assert [variants for variants, _ in told] == [("rvpo",), ("raw_rvpo",), ("level_min",)]
    assert told[0][1] != told[1][1]


def test_a_section_of_several_kinds_says_which() -> None:
    (loss,) = [s for s in of_section("update.loss") if s.path == "update.loss"]
    assert loss.kind.startswith("dapo | grpo | ")
    assert loss.default == '"dapo"'


def test_a_section_that_is_none_is_one_sentence():
    with pytest.raises(ConfigError, match=r"updat: no such section .* did you mean update\?"):
        of_section("updat")


def test_the_command_prints_a_section():
    found = CliRunner().invoke(app, ["settings", "report.project"])
    assert found.output.splitlines() == [
        'report.project: text = "rvpo"',
        "    The project that trackers file the run under.",
    ]
