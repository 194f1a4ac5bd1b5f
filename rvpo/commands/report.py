"""`rvpo report`: one HTML page of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rvpo.runtime.extras import Need, require


def write_report(runs: Sequence[Path], output: Path | None) -> tuple[Path, Path]:
    """Write the page of runs, into the first of their folders if no file is named.

    Returns:
        The page, and the folder of its pictures.

    Raises:
        ConfigError, CheckpointError: a folder holds no run that can be read, or the packages that
            draw are not installed.
    """
    require("rvpo report", Need("report"))
    from rvpo.page.build import build

    page, pictures = build(runs, output or runs[0] / "report.html")
    return page, pictures[0].parent
