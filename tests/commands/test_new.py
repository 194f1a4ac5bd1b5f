"""What `rvpo new` writes is a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rvpo.cli import app
from rvpo.commands.new import TEMPLATES, write_run
from rvpo.config.data import FunctionSource
from rvpo.config.run import load_config
from rvpo.errors import ConfigError
from rvpo.runtime.imports import import_function
from tests.fakes import make_prompt

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("like", TEMPLATES)
def test_a_new_run_is_valid_and_its_reward_scores(
    like: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "run", like)
    config = load_config(tmp_path / "run" / "run.yaml")
    assert config.advantage.name == "rvpo"
    monkeypatch.chdir(tmp_path / "run")
    names: dict[str, object] = {}
    exec((tmp_path / "run" / "my_rewards.py").read_text(encoding="utf-8"), names)
    completions = [[{"content": text}] for text in ("Two words", "", "w " * 500)]
    assert names["brief"](completions=completions, prompts=[make_prompt()]) == [1.0, 0.0, 0.0]  # type: ignore[operator]


@pytest.mark.parametrize("like", ["quickstart", "judge", "conversation"])
def test_a_run_that_needs_nothing_has_its_prompts(like: str, tmp_path: Path) -> None:
    write_run(tmp_path / "run", like)
    source = load_config(tmp_path / "run" / "run.yaml").data.train
    assert isinstance(source, FunctionSource)
    assert len(import_function(source.function, "data.train")(**source.arguments)) > 100


@pytest.mark.parametrize(
    ("like", "of"),
    [
        ("quickstart", "quickstart"),
        ("judge", "quickstart_judge"),
        ("conversation", "conversation_quickstart"),
    ],
)
def test_it_trains_as_its_experiment_does(like: str, of: str, tmp_path: Path) -> None:
    write_run(tmp_path / "run", like)
    new = load_config(tmp_path / "run" / "run.yaml")
    experiment = load_config(ROOT / "experiments" / f"{of}.yaml")
    for section in (
        "steps",
        "model",
        "data",
        "rollout",
        "advantage",
        "update",
        "judge",
        "environment",
    ):
        assert getattr(new, section) == getattr(experiment, section), section


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").touch()
    with pytest.raises(ConfigError, match="is not empty; name a new folder"):
        write_run(tmp_path / "run", "quickstart")


def test_another_name_is_one_sentence(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["new", str(tmp_path / "run"), "--like", "quikstart"])
    assert found.exit_code == 2
    assert "--like: no run is called 'quikstart'; did you mean quickstart?" in found.output
    assert not (tmp_path / "run").exists()
