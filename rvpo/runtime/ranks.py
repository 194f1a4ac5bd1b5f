"""The processes of a run: the only module in which ranks meet outside the policy update."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from typing import Final, TypeVar, cast

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d as c10d

from rvpo.errors import LostRankError, RankError, RvpoError
from rvpo.runtime.environment import RENDEZVOUS, is_rank, rank_environment
from rvpo.runtime.interface import interface_to
from rvpo.runtime.meeting import meeting_store
from rvpo.runtime.nccl import nccl_error
from rvpo.runtime.port import free_port
from rvpo.runtime.pulse import ALIVE_TIMES, Pulse
from rvpo.runtime.rows import stacked
from rvpo.runtime.signals import ending_at_once
from rvpo.types import Advantages, RolloutScores

T = TypeVar("T")

# Gloo's words for a rank that says nothing, and for one that is gone; NCCL ends the process.
_GLOO: Final = "/gloo/|^Application timeout caused pair closure"
_SILENT: Final = "Timed out waiting|timeout caused pair closure"
_RESUME: Final = "start again: --resume goes on from the last checkpoint"
_LATE: Final = "timed out|wait timeout"
_LOST: Final = (
    "Connection reset by peer|Connection closed by peer|connectFullMesh failed|Broken pipe"
    "|Connection refused|No route to host"
)


@dataclass(frozen=True)
class Ranks:
    """This process among its siblings."""

    rank: int
    size: int
    device: torch.device
    pulse: Pulse | None = field(default=None, repr=False, compare=False)
    """Signs of life; None where there are no others."""

    @staticmethod
    def join(patience_minutes: float = 20.0) -> Ranks:
        """Join the process group that the environment describes, or form a group of one.

        Args:
            patience_minutes: minutes that ranks wait for one another, and `ALIVE_TIMES` as many
                for one that shows that it lives.

        Raises:
            RankError: they do not find one another.
        """
        from accelerate import PartialState

        if not is_rank():
            os.environ |= rank_environment(0, 1, free_port())
        _require_place()
        on_gpu = torch.cuda.is_available()
        backend = "nccl" if on_gpu else "gloo"
        patience = timedelta(minutes=patience_minutes)
        timeout = _at_most(patience)
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        pulse: Pulse | None = None
        # Ranks of other machines may not come for long; our own launcher's do at once.
        is_far = size > 1 and RENDEZVOUS not in os.environ
        try:
            with ending_at_once() if is_far else nullcontext():
                if not dist.is_initialized():
                    store = meeting_store(rank, size, patience)
                    # Gloo takes the address of the machine's name, which often is its loopback.
                    if (interface := interface_to(os.environ["MASTER_ADDR"])) is not None:
                        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
                    pulse = Pulse(store, rank, size, patience) if size > 1 else None
                    dist.init_process_group(
                        backend, store=store, rank=rank, world_size=size, timeout=timeout
                    )
                state = PartialState(cpu=not on_gpu, backend=backend, timeout=timeout)
        except RuntimeError as error:
            if pulse is not None:
                pulse.stop()
            if is_of_ranks(error) and (known := nccl_error(str(error))) is not None:
                raise known from error
            if not (is_of_ranks(error) and re.search(f"{_SILENT}|{_LOST}|{_LATE}", str(error))):
                raise
            raise RankError(_apart(rank, size)) from error
        return Ranks(state.process_index, state.num_processes, state.device, pulse)

    @staticmethod
    def alone() -> Ranks:
        """This process by itself, in no group, with a GPU where there is one."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return Ranks(rank=0, size=1, device=device)

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def share(self, total: int) -> slice:
        """This rank's part of `total` items, as equal as can be."""
        return slice(self.rank * total // self.size, (self.rank + 1) * total // self.size)

    def shares(self, total: int) -> list[int]:
        """Items in the part of each rank."""
        ends = [rank * total // self.size for rank in range(self.size + 1)]
        return [end - start for start, end in pairwise(ends)]

    def gather(self, scored: RolloutScores) -> RolloutScores:
        """Every rank's rows under each other, in rank order, on every rank. All ranks must have
        the same columns and aspects; metrics are left behind, and remarks, which nobody reads of
        others, stay with their rank."""
        if self.size == 1:
            return scored
        parts = self.gather_objects(replace(scored, remarks={}))
        others = (replace(part, remarks={}) for part in parts)
        return stacked([scored if n == self.rank else part for n, part in enumerate(others)])

    def shard(self, advantages: Advantages) -> Advantages:
        """This rank's rows, without what each reward had to say, which is of the whole step."""
        rows = self.share(len(advantages.values))
        return replace(
            advantages,
            values=advantages.values[rows],
            trained=advantages.trained[rows],
            z=advantages.z[rows],
            channels=None,
        )

    def gather_objects(self, value: T) -> list[T]:
        """The value of every rank, in rank order, on every rank."""
        if self.size == 1:
            return [value]
        parts: list[T | None] = [None] * self.size
        self._meet()
        dist.all_gather_object(parts, value)
        return cast(list[T], parts)

    def first(self, value: T) -> T:
        """Rank 0's value, on every rank."""
        return self.gather_objects(value)[0]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Fail on every rank alike where the block fails on any of them.

        Raises:
            RankError: it failed on another rank, which is named with its host and its reason.
        """
        failed: RvpoError | None = None
        try:
            yield
        except RvpoError as error:
            failed = error
        every = self.gather_objects((socket.gethostname(), str(failed or "")))
        for rank, (host, reason) in enumerate(every):
            if failed is None and reason:
                raise RankError(f"rank {rank} on {host}: {reason}")
        if failed is not None:
            raise failed

    def sum(self, values: Sequence[float]) -> list[float]:
        """Elementwise sums over ranks."""
        return self._reduce(values, dist.ReduceOp.SUM)

    def max(self, values: Sequence[float]) -> list[float]:
        """Elementwise maxima over ranks."""
        return self._reduce(values, dist.ReduceOp.MAX)

    def any(self, flag: bool) -> bool:
        """True where the flag is raised on any rank."""
        return self.max([float(flag)])[0] > 0

    def wait(self) -> None:
        """Wait until every rank is here."""
        self._meet()
        dist.barrier()

    def doing(self, what: str) -> None:
        """Note what this rank begins to do, for the others that may wait for it.

        Args:
            what: a phase such as "updating, step 12".
        """
        if self.pulse is not None:
            self.pulse.doing(what)

    def leave(self) -> None:
        """Leave the process group."""
        if self.pulse is not None:
            self.pulse.stop()
        if dist.is_initialized():
            dist.destroy_process_group()

    @contextmanager
    def patience(self, minutes: float, again: str = _RESUME) -> Iterator[None]:
        """Say what it means when a rank does not come to where the others meet.

        Args:
            minutes: those given to `join`.
            again: the way to go on with the work.

        Raises:
            RankError: it did not within the time given to `join`.
        """
        try:
            yield
        except RuntimeError as error:
            if not is_of_ranks(error):
                raise
            if (known := nccl_error(str(error), again)) is not None:
                here = f"rank {self.rank} on {socket.gethostname()}"
                raise type(known)(f"{here}: {known}") from error
            if re.search(_LOST, str(error)):
                raise LostRankError(
                    f"rank {self.rank} on {socket.gethostname()} lost another rank, which ended or "
                    f"cannot be reached any more; look at what it said, then {again}"
                ) from error
            if not re.search(_SILENT, str(error)):
                raise
            raise RankError(
                f"rank {self.rank} on {socket.gethostname()} waited {ALIVE_TIMES * minutes:g} "
                "minutes in one exchange with other ranks, all of which are alive; one of them "
                f"hangs or is far slower; raise distributed.patience_minutes, or {again}"
            ) from error

    def _meet(self) -> None:
        if self.pulse is not None:
            self.pulse.meet()

    def _reduce(self, values: Sequence[float], op: dist.ReduceOp.RedOpType) -> list[float]:
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        self._meet()
        dist.all_reduce(tensor, op=op)
        result: list[float] = tensor.tolist()
        return result


def _require_place() -> None:
    """Refuse a launcher that says only a part of a rank's place.

    Raises:
        RankError: a variable is missing.
    """
    wanted = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in wanted if name not in os.environ]
    if missing:
        raise RankError(
            f"RANK is {os.environ['RANK']}, so this is one rank of a run, and {', '.join(missing)} "
            "is not set; have the launcher set all of these, as torchrun does, or unset RANK"
        )
    number, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if gpus and number >= gpus:
        raise RankError(
            f"this is rank {number} of {socket.gethostname()}, counted from 0, and torch sees "
            f"{gpus} GPUs there; start no more ranks than GPUs on a machine: "
            f"distributed.processes={gpus}, or --nproc-per-node {gpus}"
        )


def is_of_ranks(error: BaseException) -> bool:
    """True for what torch and Gloo raise where ranks do not meet: rewards, endpoints and disks
    speak of refused connections and broken pipes too."""
    return isinstance(error, dist.DistError) or (
        type(error) is RuntimeError and re.search(_GLOO, str(error)) is not None
    )


def _apart(rank: int, size: int) -> str:
    place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
    return (
        f"rank {rank} on {socket.gethostname()} did not find the other {size - 1}, which meet at "
        f"{place}; see that every node can reach that address and its own ports are open to the "
        "others, and name the network between the nodes: GLOO_SOCKET_IFNAME=eth0 (on GPUs "
        "NCCL_SOCKET_IFNAME)"
    )


def _at_most(patience: timedelta) -> timedelta:
    """Time of one exchange after which gloo and NCCL end it: `Pulse` speaks before them.

    It is that of groups which libraries form, too: torch's own is 10 minutes for NCCL, and there is
    no public way to another.
    """
    longest = ALIVE_TIMES * patience + timedelta(minutes=2)
    c10d.default_pg_timeout = longest
    c10d.default_pg_nccl_timeout = longest  # type: ignore[attr-defined]
    return longest
