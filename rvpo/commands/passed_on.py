"""Options of other libraries that a run was given, for its log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rvpo.config.rollout import RolloutConfig
from rvpo.runtime.ranks import Ranks


def passed_on(
    rollout: RolloutConfig, ranks: Ranks, deepspeed: Mapping[str, Any] | None = None
) -> Iterator[str]:
    """A line for each library that is given options, with all of them.

    Args:
        deepspeed: `update.deepspeed` of a run.
    """
    to_engine = rollout.engine.passed_on(ranks, concurrent=rollout.staleness > 0)
    if to_engine:
        yield f"{rollout.engine.name} is given {_listed(to_engine)}"
    if deepspeed:
        yield f"DeepSpeed is given {_listed(deepspeed)}"


def _listed(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in options.items())
