"""Cores that the rewards of a rank can use."""

from __future__ import annotations

import os


def cores() -> int:
    """The rank's share of the machine's cores."""
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    try:
        here = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        here = os.cpu_count() or 1
    return max(1, here // ranks)
