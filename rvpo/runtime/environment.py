"""The environment variables that make a process a rank of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
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


_ALLOCATOR: Final = "PYTORCH_ALLOC_CONF"
_ALLOCATORS: Final = (_ALLOCATOR, "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
# Segments that grow leave no gaps where what one phase of a step freed is too small for another's.
# Page-locked memory above 64 MB is taken as it is asked for, not as the next power of two.
_ONE_GPU_IN_TURN: Final = "expandable_segments:True,pinned_max_round_threshold_mb:64"


def allocator_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables for a process that trains and generates in turn on one GPU, of which torch reads
    the memory allocator's settings at its start; none where the user has set them."""
    if any(name in environment for name in _ALLOCATORS):
        return {}
    return {_ALLOCATOR: _ONE_GPU_IN_TURN}


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
    """This process's environment without what makes a process a rank of a run, and without the
    settings of `allocator_environment`: memory of segments that grow cannot be shared with another
    process."""
    ours = {_ALLOCATOR: _ONE_GPU_IN_TURN}.items()
    return {
        name: value
        for name, value in os.environ.items()
        if name not in RANK_VARIABLES and (name, value) not in ours
    }
