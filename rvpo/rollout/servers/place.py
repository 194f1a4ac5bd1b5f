"""The places of servers on one machine: address, port and GPUs of each."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rvpo.errors import ConfigError
from rvpo.runtime.gpus import named
from rvpo.runtime.port import hold_port

_LAST_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """The place of one server."""

    host: str
    """The address that it listens on."""
    port: int
    visible: str | None = None
    """Its GPUs, as CUDA names them; None on CPUs."""

    @property
    def url(self) -> str:
        """Its address as the trainer is to know it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class ServerPlaces:
    """The places of servers of this machine, whose ports stay theirs while it is open.

    Args:
        host: the address that they listen on.
        count: number of servers.
        gpus: each one's share of them in turn, by their numbers in this process; none on CPUs.
        first_port: the first of consecutive ones; any that are free if left out.
        where: the setting or option that names the host, for sentences.
        environment: this process's.

    Raises:
        ConfigError: the host is no address of this machine, or a port is taken.
    """

    def __init__(
        self,
        host: str,
        count: int,
        gpus: Sequence[int] = (),
        *,
        first_port: int | None = None,
        where: str = "rollout.engine.start",
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._held: list[socket.socket] = []
        try:
            for number in range(count):
                self._held.append(_hold(host, first_port and first_port + number, where))
        except ConfigError:
            self.close()
            raise
        each = len(gpus) // count
        shares = [gpus[number * each : (number + 1) * each] for number in range(count)]
        self.all: Final = tuple(
            ServerPlace(host, held.getsockname()[1], named(share, environment) if share else None)
            for held, share in zip(self._held, shares, strict=True)
        )

    def close(self) -> None:
        """Let the ports go. A second call does nothing."""
        for held in self._held:
            held.close()


def _hold(host: str, port: int | None, where: str) -> socket.socket:
    if port is not None and port > _LAST_PORT:
        raise ConfigError(f"{where}: ports end at {_LAST_PORT}; give a smaller first one")
    try:
        return hold_port(host, port=port or 0)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise ConfigError(
                f"{where}: {host} is no address of this machine; give one of its own"
            ) from error
        raise ConfigError(
            f"{where}: port {port or 'any'} of {host} cannot be used ({error.strerror}); give "
            "another first one"
        ) from error
