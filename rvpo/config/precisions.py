"""Number formats of the models of a run or an evaluation."""

from __future__ import annotations

from collections.abc import Mapping

from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import place_of
from rvpo.config.model import ModelConfig


def precisions(model: ModelConfig, judges: Mapping[str, JudgeConfig]) -> dict[str, str]:
    """Number formats of the models that are computed here, by the names of their settings."""
    served = {place_of(name): judge.serve for name, judge in judges.items()}
    own = {f"{where}.serve.precision": each.precision for where, each in served.items() if each}
    return {"model.precision": model.precision, **own}
