"""The agreement of ranks before anything is loaded: one folder, and the same inputs.

Each node of a cluster reads settings, data, model and packages from disks of its own. Where they
differ a run would train to its end, and file scores under the wrong prompts.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rvpo.errors import ConfigError, RankError
from rvpo.runtime.environment import MEETING_MARK
from rvpo.runtime.ranks import Ranks

PATIENCE_S: Final = 10.0
"""Longest time for a file to be seen through a network's disk."""


def check_share(prompts: int, ranks: Ranks) -> None:
    """Refuse a number of ranks that cannot share the prompts of a step.

    The settings know their own `distributed.processes` only; a launcher such as torchrun starts as
    many as it was told to.

    Args:
        prompts: those of each step, over all ranks.

    Raises:
        ConfigError: they cannot.
    """
    if prompts % ranks.size:
        raise ConfigError(
            f"rollout.prompts_per_step: {prompts} prompts cannot be shared equally by the "
            f"{ranks.size} ranks that were started; make it a multiple of {ranks.size}, or start "
            f"{_or([n for n in range(1, ranks.size) if prompts % n == 0])} of them"
        )


def check_folder(output: Path, ranks: Ranks) -> None:
    """Refuse an output folder that is not the same one for every rank.

    The main rank puts a file where the folder is, or will be, and takes it away again.

    Raises:
        ConfigError: a rank does not see it.
        RankError: the main rank could not put it there.
    """
    if ranks.size == 1:
        return
    mark: Path | None = None
    with ranks.together():
        if ranks.is_main:
            mark = _put_mark(output)
    try:
        name, above = ranks.first(("", 0) if mark is None else (mark.name, _above(output, mark)))
        seen = ranks.gather_objects((socket.gethostname(), _sees(output, name, above)))
    finally:
        if mark is not None:
            mark.unlink(missing_ok=True)
    ranks.wait()  # nobody looks into the folder while the file is there
    for rank, (host, sees) in enumerate(seen):
        if not sees:
            raise ConfigError(
                f"output: rank {rank} on {host} does not see what rank 0 on {seen[0][0]} wrote "
                f"beside {output}; every node needs the same folder: put output on a disk that all "
                "of them share, under the same path"
            )


def check_same(digests: Mapping[str, str], ranks: Ranks) -> None:
    """Refuse ranks that read other settings, data, models, code or packages than rank 0.

    Args:
        digests: those of everything that this rank read, by a name that a sentence can hold.

    Raises:
        ConfigError: some did; the sentence names rank, host and what differs.
    """
    every = ranks.gather_objects((socket.gethostname(), dict(digests)))
    home, expected = every[0]
    for rank, (host, found) in enumerate(every):
        other = [n for n in {**expected, **found} if expected.get(n) != found.get(n)]
        if other:
            raise ConfigError(
                f"rank {rank} on {host} has other {', '.join(other)} than rank 0 on {home}; "
                "give every node the same files and packages"
            )


def digest(text: str) -> str:
    """SHA-256, as `check_same` compares it."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _or(numbers: Sequence[int]) -> str:
    return " or ".join(filter(None, (", ".join(map(str, numbers[:-1])), str(numbers[-1]))))


def _put_mark(output: Path) -> Path:
    path = output.absolute()
    folder = next(each for each in (path, *path.parents) if each.is_dir())
    try:
        number, name = tempfile.mkstemp(prefix=MEETING_MARK, dir=folder)
    except OSError as error:
        raise RankError(
            f"output: {folder} cannot be written ({error.strerror}); write elsewhere: output=FOLDER"
        ) from error
    os.close(number)
    return Path(name)


def _above(output: Path, mark: Path) -> int:
    """Number of folders that the mark is above the output folder."""
    path = output.absolute()
    return (path, *path.parents).index(mark.parent)


def _sees(output: Path, name: str, above: int) -> bool:
    path = output.absolute()
    folder = (path, *path.parents)[above]
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            # A listing, for a network's disk may remember that there was no such name.
            if name in os.listdir(folder):
                return True
        except OSError:
            return False
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
