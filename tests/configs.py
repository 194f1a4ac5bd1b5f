"""Settings of runs small enough for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rvpo.config.run import RunConfig


def tiny_settings(
    folder: Path, output: Path, **sections: Mapping[str, Any] | Any
) -> dict[str, Any]:
    """A run of four steps on the tiny model; each keyword replaces settings of a section."""
    settings: dict[str, Any] = {
        "output": str(output),
        "steps": 4,
        "model": {"path": str(folder), "precision": "fp32"},
        "data": {"train": {"function": "tests.toy:letters", "arguments": {"count": 12}}},
        "rollout": {
            "engine": {"name": "transformers"},
            "prompts_per_step": 2,
            "samples_per_prompt": 4,
            "max_completion_tokens": 8,
        },
        "rewards": {
            "vowels": {"function": "tests.toy:vowels"},
            "late": {"function": "tests.toy:late"},
        },
        "advantage": {"name": "rvpo"},
        "update": {"lr": 1e-3},
        "checkpoint": {"every": 2},
        "report": {"trackers": []},
    }
    for name, value in sections.items():
        settings[name] = settings.get(name, {}) | value if isinstance(value, dict) else value
    return settings


def tiny_config(folder: Path, output: Path = Path("unused"), **sections: Any) -> RunConfig:
    """`tiny_settings`, validated."""
    return RunConfig.model_validate(tiny_settings(folder, output, **sections))
