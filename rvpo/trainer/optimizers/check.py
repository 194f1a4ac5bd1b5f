"""A run's optimizer, looked at before any model is loaded."""

from __future__ import annotations

from collections.abc import Callable

from rvpo.config.update import UpdateConfig
from rvpo.errors import ConfigError
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.optimizers import OPTIMIZERS


def check_optimizer(update: UpdateConfig) -> None:
    """Refuse an optimizer that does not go with this machine.

    Raises:
        ConfigError: it says why, and what to write instead.
    """
    sentence = OPTIMIZERS[update.optimizer].lack()
    if sentence is not None:
        raise ConfigError(sentence)


def prepare_optimizer(update: UpdateConfig, ranks: Ranks, say: Callable[[str], None]) -> None:
    """Make what a run's optimizer needs, which may take a minute, on all ranks.

    Args:
        say: told what is made.

    Raises:
        ConfigError: it cannot be made.
    """
    with ranks.together():
        OPTIMIZERS[update.optimizer].prepare(say)
