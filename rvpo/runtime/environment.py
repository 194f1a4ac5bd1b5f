"""The environment variables that make a process a rank of a run."""

from __future__ import annotations

import os
from typing import Final

LIFELINE: Final = "RVPO_LIFELINE"
"""Set where the standard input is a lifeline, see `rvpo.runtime.process.end_with_parent`."""
REASON: Final = "RVPO_REASON_FD"
"""A rank's file descriptor for the sentence with which it gives up."""
RENDEZVOUS: Final = "RVPO_RENDEZVOUS"
"""The file in which the ranks of a launcher find one another."""

MEETING_MARK: Final = ".rvpo-meeting-"
"""Start of the names of files by which ranks see that they share a folder."""

RANK_VARIABLES: Final = (
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK"),
    *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE"),
    *("MASTER_ADDR", "MASTER_PORT"),
    *(LIFELINE, REASON, RENDEZVOUS),
)
"""All of them: torch's, torchrun's and those of `rvpo.runtime.launch`."""


def rank_environment(rank: int, processes: int, port: int) -> dict[str, str]:
    """The place of one of so many processes on this machine, which meet at a port on loopback."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def is_rank() -> bool:
    """True where somebody started this process as one rank of a run."""
    return "RANK" in os.environ


def child_environment() -> dict[str, str]:
    """This process's environment without what makes a process a rank of a run."""
    return {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
