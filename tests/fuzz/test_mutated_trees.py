"""Damaged settings shown and planned: a run, findings or a sentence with its place.

Each case follows from its number. RVPO_FUZZ_CONFIGS says how many are shown, and a tenth of that
is planned.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from rvpo.cli import app
from rvpo.commands.plan import Plan, plan
from rvpo.config.document import dump, read_document
from rvpo.config.run import load_config
from rvpo.errors import RvpoError
from tests.commands.test_plan import CPU
from tests.configs import tiny_settings
from tests.fuzz.test_mutated_settings import CASES, FILES
from tests.fuzz.trees import damaged, settings

PLANS = -(-CASES // 10)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_damaged_settings_are_shown_or_refused_with_their_place(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    whole = read_document(path)
    for case in range(-(-CASES // len(FILES))):
        chance = random.Random(f"{path.stem} {case}")
        file.write_text(dump(damaged(whole, chance)), encoding="utf-8", errors="surrogatepass")
        given = settings(whole, chance)
        done = CliRunner().invoke(app, ["show", "--config", str(file), "--", *given])
        assert done.exit_code in (0, 2), (case, given, done.exception)
        assert isinstance(done.exception, SystemExit | None), (case, given, done.exception)
        if done.exit_code == 0:
            assert yaml.safe_load(done.stdout), case
        else:
            assert_names_places(done.stderr, file, given)


def test_damaged_settings_are_planned_or_refused(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "run.yaml"
    held_out = {"function": "tests.toy:letters", "arguments": {"count": 4}}
    sections: dict[str, Any] = {"data": {"held_out": held_out}, "evaluate": {"every": 2}}
    whole = tiny_settings(tiny_model, tmp_path / "run", **sections)
    for case in range(PLANS):
        chance = random.Random(f"plan {case}")
        file.write_text(dump(damaged(whole, chance)), encoding="utf-8", errors="surrogatepass")
        given = settings(whole, chance)
        found = planned(file, given)
        if isinstance(found, RvpoError):
            assert_names_places(f"rvpo: {found}", file, given)
            continue
        assert all(finding.part and finding.found for finding in found.findings), case
    assert not (tmp_path / "run").exists()


def planned(file: Path, given: list[str]) -> Plan | RvpoError:
    try:
        return plan(load_config(file, given), CPU)
    except RvpoError as error:
        return error


def assert_names_places(said: str, file: Path, given: list[str]) -> None:
    """Each line below the first says where: a section of the settings, or what was given."""
    assert said.startswith("rvpo: ")
    first, *lines = said.removeprefix("rvpo: ").splitlines()
    places = [setting.partition("=")[0] for setting in given]
    assert str(file) in first or any(place in first for place in places), said
    for line in lines:
        assert ":" in line or line.strip().startswith("and "), said
