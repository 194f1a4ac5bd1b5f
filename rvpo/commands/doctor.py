"""`rvpo doctor`: this machine, examined."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rvpo.plan.machine import Finding, diagnose, display, examine
from rvpo.runtime.shared_memory import FOLDER, left_behind


def check_machine() -> bool:
    """Print what a run would find on this machine; whether one can start."""
    findings = [*diagnose(examine()), *leftovers(left_behind())]
    display(findings)
    return all(finding.state != "missing" for finding in findings)


def leftovers(segments: Sequence[Path]) -> list[Finding]:
    """A finding on shared memory that killed processes left behind, nothing where there is none."""
    if not segments:
        return []
    size = 0
    for path in segments:
        with suppress(OSError):
            size += 512 * path.stat().st_blocks
    return [
        Finding(
            "shared memory",
            "note",
            f"{len(segments)} segments in {FOLDER}, {size / 1e6:,.1f} MB, that no process of this "
            "machine uses: Python processes that were killed left them",
            f"rm {' '.join(map(str, segments[:3]))}{' ...' if len(segments) > 3 else ''}, unless a "
            f"container that shares {FOLDER} uses them",
        )
    ]
