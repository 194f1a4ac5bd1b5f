"""A group of processes that meet for weights alone: rank 0 sends, the others receive, over gloo."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import torch.distributed as dist
from torch import Tensor

from rvpo.rollout.servers.weights.own_address import own_address

CUT: Final = "the exchange of weights with the other members was cut"
"""Words of a member that has to stop because of another one."""


@dataclass(frozen=True, slots=True)
class GroupPatience:
    """The times that members of a group have."""

    form_s: float
    """Seconds for all to come."""
    silence_s: float
    """Seconds after which a member that neither sends nor takes anything is given up."""


class GlooGroup:
    """One member's place in such a group, beside any other group of its process.

    The address of each member is given, so that neither the machine's own idea of its name nor the
    order of its networks decides. A member that leaves, or whose process ends, ends the exchanges
    of all others with an error.

    Args:
        store: the place in which the members find one another.
        address: this member's own, at which the others reach it.
        patience: the times that members have.

    Raises:
        RuntimeError: the others did not come in time; in the words of `CUT`.
    """

    def __init__(
        self, store: Any, rank: int, size: int, *, address: str, patience: GroupPatience
    ) -> None:
        options = dist.ProcessGroupGloo._Options()  # type: ignore[attr-defined]
        options._timeout = timedelta(seconds=patience.form_s)
        options._devices = [dist.ProcessGroupGloo.create_device(hostname=address)]
        prefixed = dist.PrefixStore("weights", store)  # type: ignore[attr-defined]
        with _cut():
            self._group: Any = dist.ProcessGroupGloo(prefixed, rank, size, options)
        self._group._set_default_timeout(timedelta(seconds=patience.silence_s))

    @staticmethod
    def join(host: str, port: int, rank: int, size: int, patience: GroupPatience) -> GlooGroup:
        """A receiver's place in the group that meets at an address.

        Raises:
            RuntimeError: nobody is there, or others did not come in time.
        """
        seconds = timedelta(seconds=patience.form_s)
        store = dist.TCPStore(host, port, is_master=False, timeout=seconds)  # type: ignore[attr-defined]
        return GlooGroup(store, rank, size, address=own_address(host, port), patience=patience)

    def broadcast(self, tensor: Tensor) -> None:
        """Give all members the same numbers: those that rank 0 has. A member that cannot leaves, so
        that nobody waits for it.

        Args:
            tensor: in the machine's memory, contiguous, of the same size and type everywhere.

        Raises:
            RuntimeError: a member is gone or says nothing; in the words of `CUT`.
        """
        options = dist.BroadcastOptions()
        options.rootRank, options.rootTensor = 0, 0
        try:
            with _cut():
                self._group.broadcast([tensor], options).wait()
        except RuntimeError:
            self.leave()
            raise

    def leave(self) -> None:
        """Leave the group; calling it twice does no harm."""
        self._group = None  # its connections end with it


@contextmanager
def _cut() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(f"{CUT} ({error})") from error


class Meeting:
    """The place where a group meets: a store of this process, at an address of this machine alone
    and a port that nobody else can have taken.

    Args:
        address: this machine's.

    Raises:
        OSError: it is no address of this machine.
    """

    def __init__(self, address: str, form_s: float) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listening = socket.socket(family)
        try:
            listening.bind((address, 0))
            listening.listen()
            self.port: int = listening.getsockname()[1]
        except OSError:
            listening.close()
            raise
        self.store: Any = dist.TCPStore(  # type: ignore[attr-defined]
            address,
            self.port,
            is_master=True,
            wait_for_workers=False,
            timeout=timedelta(seconds=form_s),
            master_listen_fd=listening.detach(),
        )
