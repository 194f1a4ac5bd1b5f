"""Every error a user can cause or meet. The command line prints the sentence and exits with 2.

Each message says where, what was given, what is allowed and what to do instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

USER_ERROR: Final = 2
"""Exit code of a command that ended in such a sentence."""
INTERRUPTED: Final = 130
"""Exit code of a command that was asked to stop, as shells have it for Ctrl-C."""


class RvpoError(Exception):
    """Base of the errors below; never raised itself."""


class ConfigError(RvpoError, ValueError):
    """A configuration that cannot be a run."""


class DataError(RvpoError, ValueError):
    """Prompts that cannot be read or used."""


class RewardError(RvpoError, RuntimeError):
    """A reward function that raised or broke its contract."""


class SpentError(RewardError):
    """A judge whose budget of dollars is spent, on every rank alike."""


class EngineError(RvpoError, RuntimeError):
    """A generation engine that could not start, sample or take new weights."""


class UpdateError(RvpoError, RuntimeError):
    """A policy update that must not be applied, such as one with a non-finite loss."""


class RankError(RvpoError, RuntimeError):
    """A rank that the others waited for in vain."""


class LostRankError(RankError):
    """A rank that ended in the middle of the others' work: why, is for that rank to say."""


class SandboxError(RvpoError, RuntimeError):
    """A program that could not be shut in, or not be started: nothing is known about it."""


class ShortageError(RvpoError, RuntimeError):
    """Memory of a GPU or of the machine that ran out."""


class CheckpointError(RvpoError, RuntimeError):
    """A run folder or checkpoint that cannot be written or read."""


class HubError(RvpoError, RuntimeError):
    """A Hub that refuses, or does not answer."""


def nearest(name: str, names: Sequence[str]) -> str | None:
    """The valid name that a misspelt one most likely means, or None; case does not matter."""
    import difflib  # `rvpo --help` does without

    known = {each.lower(): each for each in reversed(names)}
    close = difflib.get_close_matches(name.lower(), list(known), n=1)
    return known[close[0]] if close else None
