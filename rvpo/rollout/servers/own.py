"""Servers that this process starts, starts again where they end, and ends with itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from threading import Event, Thread
from typing import Final

from rvpo.errors import ConfigError, EngineError
from rvpo.rollout.servers.command import Served, server_start
from rvpo.rollout.servers.place import ServerPlaces
from rvpo.rollout.servers.settings import ServersConfig
from rvpo.runtime.address import CLOSED, public_addresses
from rvpo.runtime.ignore import ignore
from rvpo.runtime.vllm_server import ServerStart, VllmServer

READY_S: Final = 1800.0
"""Longest time for servers to come up, in seconds: files of large models are read from slow disks,
and kernels are compiled."""
RESTARTS: Final = 3
"""Times that a server of a run is started again."""

_LOOK_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 300.0
_STEADY_S: Final = 600.0
"""A server that ran for so long begins its pauses anew."""


def pauses() -> Iterator[float]:
    """Seconds before each start of a server that ends again and again: 1, 2, 4, ... 300, ..."""
    pause = 1.0
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE_S)


class KeptServer:
    """One server, which is started again when it ends.

    It comes back with the weights that it starts with. Who asks it has to send it the present ones
    first.

    Args:
        start: starts it.
        restarts: times that it is started again; None for as often as it takes.
        say: told of every end, and of what follows.
    """

    def __init__(
        self,
        start: Callable[[], VllmServer],
        restarts: int | None = None,
        say: Callable[[str], None] = ignore,
    ) -> None:
        self._begin = start
        self._left = restarts
        self._say = say
        self._pauses = pauses()
        self._again_at: float | None = None
        self._begun_at = 0.0
        self._server: VllmServer | None = start()

    def is_up(self) -> bool:
        """See `VllmServer.is_up`; False while there is none."""
        return self._server is not None and self._server.is_up()

    def delay(self, seconds: float) -> str:
        """See `VllmServer.delay`."""
        return "" if self._server is None else self._server.delay(seconds)

    def look(self, now: float) -> None:
        """See whether it runs, and start it again when its pause is over.

        Args:
            now: moment of `time.monotonic`.
        """
        if self._server is None:
            if self._again_at is not None and now >= self._again_at:
                self._start_again(now)
            return
        reason = self._server.end_of()
        if reason is not None:
            self._server.close()
            self._server = None
            self._ended(reason, now)
        elif now - self._begun_at > _STEADY_S:
            self._pauses = pauses()

    def ask(self) -> None:
        """Ask it to end, and return at once."""
        if self._server is not None:
            self._server.ask()

    def close(self) -> None:
        """End it for good. A second call does nothing."""
        self._again_at = None
        if self._server is not None:
            self._server.close()
            self._server = None

    def _start_again(self, now: float) -> None:
        self._again_at, self._begun_at = None, now
        try:
            self._server = self._begin()
        except (EngineError, OSError) as error:  # of a full disk, or too many processes
            self._ended(str(error), now)

    def _ended(self, reason: str, now: float) -> None:
        if self._left == 0:
            self._say(f"{reason}; it ended too often and is not started again")
            return
        if self._left is not None:
            self._left -= 1
        pause = next(self._pauses)
        self._again_at = now + pause
        self._say(f"{reason}; it is started again in {pause:.0f} s")


class OwnServers:
    """Several servers, started together. They end with this process, however that ends.

    Args:
        starts: one for each server.
        restarts, say: see `KeptServer`.
        serve: starts a server.
        closing: called when all have ended.

    Raises:
        EngineError: one cannot be started at all.
    """

    def __init__(
        self,
        starts: Sequence[ServerStart],
        *,
        restarts: int | None = RESTARTS,
        say: Callable[[str], None] = ignore,
        serve: Callable[[ServerStart], VllmServer] = VllmServer,
        closing: Callable[[], None] = ignore,
    ) -> None:
        self._closing = closing
        self._stop = Event()
        self._watch = Thread(target=self._keep, name="own servers", daemon=True)
        self._servers: list[KeptServer] = []
        try:
            for start in starts:
                self._servers.append(KeptServer(lambda start=start: serve(start), restarts, say))  # type: ignore[misc]
        except BaseException:
            self.close()
            raise

    def ready(self, timeout_s: float = READY_S, said: Callable[[int], None] = ignore) -> None:
        """Wait until all answer, and keep them from then on.

        Args:
            timeout_s: seconds from this call on.
            said: told of each as it answers, by its place among the starts.

        Raises:
            EngineError: one ended, or did not answer in time; with its last words.
        """
        until = time.monotonic() + timeout_s
        waiting = dict(enumerate(self._servers))
        while waiting:
            for number, server in list(waiting.items()):
                if server.is_up():
                    del waiting[number]
                    said(number)
            if waiting and time.monotonic() > until:
                raise EngineError(next(iter(waiting.values())).delay(timeout_s))
            if self._stop.wait(_LOOK_S if waiting else 0.0):
                return
        self._watch.start()

    def close(self) -> None:
        """End all of them, within seconds. A second call does nothing."""
        self._stop.set()
        if self._watch.is_alive():
            self._watch.join()
        for server in self._servers:
            server.ask()
        for server in self._servers:
            server.close()
        self._closing()

    def _keep(self) -> None:
        while not self._stop.wait(_LOOK_S):
            for server in self._servers:
                server.look(time.monotonic())


def start_own(
    engine: ServersConfig,
    served: Served,
    host: str,
    *,
    say: Callable[[str], None] = ignore,
    serve: Callable[[ServerStart], VllmServer] = VllmServer,
) -> tuple[OwnServers, tuple[str, ...]]:
    """Start the servers of `rollout.engine.start`, and return at once: `ready` waits for them.

    Args:
        host: the address of this machine that they listen on; the loopback where all ranks are
            here.
        say: told of every server that ends.
        serve: starts a server.

    Returns:
        The servers, and their addresses.

    Raises:
        ConfigError: the host is no address of this machine, or of no closed network.
        EngineError: one cannot be started at all.
    """
    assert engine.start is not None
    where = "rollout.engine.start"
    if not engine.public_addresses and (found := public_addresses(host)):
        raise ConfigError(
            f"{where}: servers on {found[0]} could be given other weights by whoever reaches that "
            f"address; use one of {CLOSED}, or write rollout.engine.public_addresses: true"
        )
    key = engine.key()
    places = ServerPlaces(host, engine.start.servers, engine.start.devices, where=where)
    starts = [server_start(engine, served, each, where=where, key=key) for each in places.all]
    own = OwnServers(starts, say=say, serve=serve, closing=places.close)
    return own, tuple(each.url for each in places.all)
