"""`rvpo dashboard`: the workspace of a run in Weights & Biases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rvpo.config.run import load_config
from rvpo.runtime.extras import Need, require


def lay_out(config: Path, settings: Sequence[str], entity: str, file: Path | None) -> str:
    """Send the workspace of a run, or write its specification to a file and send nothing.

    Args:
        entity: the user or team of W&B that it is for.

    Returns:
        The place of the workspace: an address, or the file.

    Raises:
        ConfigError: the settings are wrong, there is neither an entity nor a file, or W&B's
            packages are not installed.
    """
    run_config = load_config(config, settings)
    require("rvpo dashboard", Need("wandb"))
    from rvpo.page.dashboard import save, write

    if file is None:
        return save(run_config, entity)
    write(run_config, entity or "entity", file)
    return str(file)
