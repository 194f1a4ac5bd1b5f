"""The end of every command: what a user can cause is one sentence and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import typer

from rvpo.errors import INTERRUPTED, USER_ERROR, LostRankError, RvpoError
from rvpo.runtime.shortage import needing_memory

_CURES: Final = (
    "lower rollout.engine.gpu_memory or update.micro_batch_tokens, or set "
    "update.activation_checkpointing=true and update.offload_optimizer=true; `rvpo plan` shows "
    "what takes how much",
)
"""Ways out where nobody closer to the work knows a better one."""


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn what a user can cause or meet into one sentence; any other error keeps its traceback."""
    from rvpo.runtime.signals import stopping_at_once

    try:
        with stopping_at_once(), needing_memory("", _CURES):
            yield
    except RvpoError as error:
        from rvpo.config.secret import masked  # what was given may be a key in the wrong place

        _say(masked(str(error)), is_cause=not isinstance(error, LostRankError))
        if isinstance(error, LostRankError):
            _exit_at_once()
        raise typer.Exit(USER_ERROR) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        where = f" while writing {error.filename}" if error.filename else ""
        _say(
            f"the disk is full{where}; free some space, then go on: training with --resume, "
            "anything else with the same command"
        )
        raise typer.Exit(USER_ERROR) from None


def _exit_at_once() -> None:
    """End without Python's usual tidying, in which a thread of Gloo's that still waits for a lost
    rank aborts the process."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    os._exit(USER_ERROR)


def _say(sentence: str, is_cause: bool = True) -> None:
    from rvpo.runtime.launch import say

    say(f"rvpo: {sentence}", is_cause)
