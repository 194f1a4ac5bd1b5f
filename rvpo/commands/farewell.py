"""The last sentence of a run that somebody stopped."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rvpo.runtime.signals import importing


def farewell(output: Path | None) -> str:
    """Tell who stopped a run how to go on with it.

    Args:
        output: folder of the run; None where it is not known yet or not the run's own.
    """
    config = None if output is None else output / "config.yaml"
    if config is None or not config.exists():
        return "stopped before the first step; nothing was written"
    again = shlex.join(["rvpo", "train", "--config", str(config), "--resume"])
    return f"stopped; go on with: {again}"


@contextmanager
def farewell_before_ranks(output: Path | None = None) -> Iterator[None]:
    """End with it at once, said once for all ranks, if a stop is asked for before they have met."""
    with importing(farewell(output) if os.environ.get("RANK", "0") == "0" else ""):
        yield
