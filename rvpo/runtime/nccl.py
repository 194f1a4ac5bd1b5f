"""NCCL's words for what went wrong among ranks on GPUs, as sentences.

Some it raises. After others, such as a time-out, it ends the process, and they are in its log.
"""

from __future__ import annotations

import re
from typing import Final

from rvpo.errors import LostRankError, RankError
from rvpo.runtime.shortage import shortage_line

_IS_NCCL: Final = re.compile(r"NCCL error|\bnccl[A-Z]\w*Error|ProcessGroupNCCL|WorkNCCL|NCCL WARN")
_LAST: Final = re.compile(r"Last error:\s*(\S.*)")
_TIMEOUT: Final = re.compile(r"Timeout\(ms\)=(\d+)\) ran for \d+ milliseconds before timing out")
_STUCK: Final = re.compile(r"watchdog got stuck for (\d+) seconds|Heartbeat monitor timed out")
_LOST: Final = re.compile(
    r"ncclRemoteError|remote process exit|Connection closed by remote peer"
    r"|Call to (?:recv|send|connect)\w* (?:from|to) \S+ failed",
    re.IGNORECASE,
)
_AGAIN: Final = "start again: --resume goes on from the last checkpoint, if there is one"


def nccl_error(text: str, again: str = _AGAIN) -> RankError | None:
    """The sentence about NCCL's trouble in an error or a log; None where there is none, or where
    memory is the trouble.

    Args:
        again: the way to go on with the work.
    """
    if _IS_NCCL.search(text) is None:
        return None
    if late := _TIMEOUT.search(text):
        return _silent(int(late[1]) / 60_000, again)
    if stuck := _STUCK.search(text):
        return _silent(int(stuck[1] or 600) / 60, again)
    if "NCCL error" not in text and not re.search(r"\bnccl[A-Z]\w*Error", text):
        return None
    if shortage_line(text) is not None:
        return None
    last = _LAST.search(text)
    said = last[1].strip() if last else _first_line(text)
    if "Duplicate GPU" in text:
        return RankError(
            f"two ranks have the same GPU ({said}); start one rank for each GPU and no more, by "
            "distributed.processes or --nproc-per-node, and let CUDA_VISIBLE_DEVICES name each "
            "GPU once"
        )
    if _LOST.search(text):
        return LostRankError(
            f"NCCL lost another rank, which ended or cannot be reached any more ({said}); look at "
            f"what it said, then {again}"
        )
    if "shared memory segment" in text:
        return RankError(
            f"NCCL has too little shared memory ({said}); give the container more, as by "
            f"--shm-size=16g, or free /dev/shm, then {again}"
        )
    return RankError(
        f"NCCL failed between the ranks ({said}); NCCL_DEBUG=WARN has it say more, and "
        f"NCCL_SOCKET_IFNAME=eth0 names the network between nodes; then {again}"
    )


def _silent(minutes: float, again: str) -> RankError:
    return RankError(
        f"NCCL waited {minutes:.3g} minutes for another rank, which hangs or is far slower, and "
        "ended the processes; look at its machine, or raise distributed.patience_minutes, then "
        f"{again}"
    )


def _first_line(text: str) -> str:
    found = re.search(r"NCCL error.*", text)
    return (found[0] if found else text.strip().splitlines()[0])[:240]
