"""Arms are compared on held-out prompts by one judge, whichever trains them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rvpo.compare.comparison import Comparison
from rvpo.errors import ConfigError
from tests.configs import tiny_settings

RUBRIC = {"rubric": "channels", "criteria": {"kind": "The response is kind."}}


def asked(model: str) -> dict[str, Any]:
    return {"model": model, "endpoints": [{"url": "http://127.0.0.1:1/v1"}]}


def comparison(
    folder: Path, vary: str, reward: dict[str, Any] = RUBRIC, **sections: Any
) -> Comparison:
    settings = tiny_settings(
        Path("model"),
        folder,
        data={"held_out": {"function": "tests.toy:letters", "arguments": {"count": 4}}},
        judges={"cheap": asked("small"), "gold": asked("large"), "same": asked("small")},
        rewards={"care": reward | {"judge": "cheap"}},
        **sections,
    )
    del settings["output"]
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return Comparison.of(file, (), (vary,), 1, folder / "out")


@pytest.mark.parametrize("reward", [RUBRIC, {"compare": "Which response is kinder?"}])
@pytest.mark.parametrize(
    "vary", ["rewards.care.judge=cheap,gold", "judges.cheap.model=small,other"]
)
def test_arms_that_two_judges_would_examine_are_refused(
    vary: str, reward: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"care of held-out prompts .*evaluate\.judge=NAME"):
        comparison(tmp_path, vary, reward)
    found = comparison(tmp_path, vary, reward, evaluate={"judge": "gold"})
    assert len(found.runs) == 2


def test_arms_that_one_judge_trains_and_examines_are_compared(tmp_path: Path) -> None:
    assert len(comparison(tmp_path, "rewards.care.judge=cheap,same").runs) == 2
    assert len(comparison(tmp_path, "advantage=grpo,rvpo").runs) == 2
