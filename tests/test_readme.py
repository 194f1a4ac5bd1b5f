"""What the README shows works as shown."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from typer.testing import CliRunner

from rvpo.advantage.aggregate import Aggregate, lowest, shares
from rvpo.advantage.zscore import ZScoreEstimator
from rvpo.cli import app
from rvpo.types import Rewards

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def block(containing: str) -> str:
    (found,) = [code for code in PYTHON if containing in code]
    return found


def test_the_library_snippet_prints_advantages(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(block("from rvpo import RVPO"), names)
    advantages = names["advantages"].values
    assert int(advantages.argmax()) == 2  # the sample that is correct and brief
    assert "tensor" in capsys.readouterr().out


def test_the_example_reward_scores() -> None:
    names: dict[str, Any] = {}
    exec(block("def polite"), names)
    completions = [[{"role": "assistant", "content": text}] for text in ("Please do", "Do")]
    assert names["polite"](completions=completions, prompts=[], answer=[]) == [1.0, 0.0]


def test_the_example_advantage_lies_between_mean_and_minimum() -> None:
    names: dict[str, Any] = {
        name.__name__: name for name in (dataclass, ZScoreEstimator, Aggregate, lowest, shares)
    } | {"Literal": Literal, "__name__": __name__}
    exec(block("class Blend"), names)
    rewards = Rewards(torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), "ab", 4)
    raw = {a: names["Blend"](alpha=a, whiten=False)(rewards).values for a in (0.0, 0.5, 1.0)}
    torch.testing.assert_close(raw[0.5], (raw[0.0] + raw[1.0]) / 2)
    torch.testing.assert_close(raw[1.0], names["Blend"](whiten=False)(rewards).z.amin(dim=1))


@pytest.mark.parametrize("command", re.findall(r"`(rvpo train --config experiments[^`]*)`", README))
def test_every_training_command_names_a_valid_run(command: str) -> None:
    arguments = [part for part in shlex.split(command)[2:] if part != "--resume"]
    config = arguments.index("--config") + 1
    arguments[config] = str(ROOT / arguments[config])
    result = CliRunner().invoke(app, ["show", *arguments])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("link", re.findall(r"\]\(([^):]+)\)", README))
def test_every_link_leads_to_a_file(link: str) -> None:
    file, _, heading = link.partition("#")
    assert (ROOT / file).exists()
    if heading:
        text = (ROOT / file).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert heading in [h.lower().replace(" ", "-") for h in headings]
