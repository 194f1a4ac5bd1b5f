"""Options of other libraries that a run was given, for its log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rvpo.config.run import RunConfig
from rvpo.runtime.ranks import Ranks


def passed_on(config: RunConfig, ranks: Ranks) -> Iterator[str]:
    """A line for each library that is given options, with all of them."""
    engine = config.rollout.engine
    to_engine = engine.passed_on(ranks, concurrent=config.rollout.staleness > 0)
    if to_engine:
        yield f"{engine.name} is given {_listed(to_engine)}"
    if config.update.deepspeed:
        yield f"DeepSpeed is given {_listed(config.update.deepspeed)}"


def _listed(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in options.items())
