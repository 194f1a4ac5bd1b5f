"""Signs of life: each rank writes what it does, and reads who says nothing or lags behind.

A collective that waits for ever ends in gloo's or NCCL's words at best, which name nobody; those of
NCCL end the process. So threads beside it watch, and speak first.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final

import torch.distributed as dist

from rvpo.errors import USER_ERROR
from rvpo.runtime.launch import say

ALIVE_TIMES: Final = 3
"""Times the patience that a rank gets whose process lives: a model may take long to load, and a
judge long to answer."""

_ADVICE: Final = (
    "look at its machine and at what it said, or raise distributed.patience_minutes where it is "
    "only slow, then give the same command again: --resume goes on from the last checkpoint"
)
_BEATS: Final = 60
"""Signs within the patience, where that is not more often than useful."""
_FASTEST_S, _SLOWEST_S = 0.5, 20.0
_ANSWER_S: Final = 5.0
_STOP_S: Final = 2.0


@dataclass(frozen=True)
class Beat:
    """Word of a rank on itself."""

    host: str
    number: int
    """Number of this sign, so that each differs from the one before."""
    meetings: int
    """Collectives that it has come to, of those that all ranks come to in one order."""
    doing: str
    """A phase such as "updating, step 12"."""
    since_s: float
    """Seconds that it has been doing that."""
    has_ended: bool


class Vigil:
    """The judgement on the signs of the other ranks.

    Args:
        rank: this one.
        patience_s: seconds for a rank that says nothing; one that lives gets `ALIVE_TIMES` as many.
    """

    def __init__(self, rank: int, size: int, patience_s: float) -> None:
        self._rank = rank
        self._patience_s = patience_s
        self._silent_s = {other: 0.0 for other in range(size) if other != rank}
        self._last: dict[int, Beat] = {}
        self._meetings = 0
        self._waited_s = 0.0

    def look(self, own: Beat, signs: Mapping[int, Beat] | None, elapsed_s: float) -> str | None:
        """Take in what was read.

        Args:
            signs: those of the other ranks, as far as there are any; None if nothing can be read,
                for which rank 0 answers, whose store it is.
            elapsed_s: seconds since the last look that this process was awake.

        Returns:
            The reason for giving up, if there is one.
        """
        for rank in self._silent_s:
            sign = (signs or {}).get(rank)
            if sign is not None and sign != self._last.get(rank):
                self._last[rank] = sign
                self._silent_s[rank] = 0.0
            elif signs is not None or rank == 0:
                self._silent_s[rank] += elapsed_s
        self._waited_s = 0.0 if own.meetings != self._meetings else self._waited_s + elapsed_s
        self._meetings = own.meetings
        return self._reason(own)

    def _reason(self, own: Beat) -> str | None:
        ended = [r for r, sign in self._last.items() if sign.has_ended and self._is_behind(r)]
        if ended and self._waited_s:  # its own words come first, and gloo's
            return f"rank {self._rank} on {own.host} lost {self._named(ended)}"
        silent = [r for r, seconds in self._silent_s.items() if seconds > self._patience_s]
        silent = [r for r in silent if r not in self._last or not self._last[r].has_ended]
        late = [r for r in self._last if self._is_behind(r)]
        limit = self._patience_s * ALIVE_TIMES
        who = silent or (late if self._waited_s > limit else [])
        if not who:
            return None
        minutes = (self._patience_s if silent else limit) / 60
        return f"rank {self._rank} on {own.host} waited {minutes:g} minutes for {self._named(who)}"

    def _is_behind(self, rank: int) -> bool:
        return self._last[rank].meetings < self._meetings

    def _named(self, ranks: list[int]) -> str:
        return " and ".join(self._described(rank) for rank in sorted(ranks))

    def _described(self, rank: int) -> str:
        sign = self._last.get(rank)
        if sign is None:
            return f"rank {rank}, which never said anything"
        name = f"rank {rank} on {sign.host}"
        if sign.has_ended:
            return f"{name}, which ended while {sign.doing}"
        if self._silent_s[rank] > self._patience_s:
            return f"{name}, which says nothing and was last {sign.doing}"
        return (
            f"{name}, which is alive and has been {sign.doing} for {sign.since_s / 60:.0f} minutes"
        )


class Pulse:
    """This rank's signs and its watch over the others, in threads that take no part in the work.

    Args:
        store: common to all ranks.
        patience: time for a rank that says nothing.
        give_up: told the reason; does not return.
    """

    def __init__(
        self,
        store: Any,
        rank: int,
        size: int,
        patience: timedelta,
        give_up: Callable[[str], None] | None = None,
    ) -> None:
        self._rank, self._size = rank, size
        seconds = patience.total_seconds()
        self.interval_s = min(max(seconds / _BEATS, _FASTEST_S), _SLOWEST_S)
        self._watch = Vigil(rank, size, seconds)
        self._give_up = give_up or end_with
        # A connection of its own: others wait in the store's for as long as it takes.
        self._store = store.clone()
        self._store.set_timeout(timedelta(seconds=_ANSWER_S))
        self._host = socket.gethostname()
        self._beat = self._meetings = 0
        self._doing, self._since = "starting", time.monotonic()
        self._news, self._stop = threading.Event(), threading.Event()
        self._seen: dict[int, Beat] = {}
        self._seen_at = -math.inf
        self._say()
        # Two, for a store whose machine is out of reach may keep a thread for ever.
        self._talk = threading.Thread(target=self._exchange, name="pulse", daemon=True)
        self._look = threading.Thread(target=self._watch_over, name="pulse watch", daemon=True)
        self._talk.start()
        self._look.start()

    def doing(self, what: str) -> None:
        """Note what this rank begins to do."""
        self._doing, self._since = what, time.monotonic()
        self._news.set()

    def meet(self) -> None:
        """Note that this rank comes to where all of them meet."""
        self._meetings += 1

    def stop(self) -> None:
        """Leave the others a last sign, and end the thread."""
        self._stop.set()
        self._news.set()
        self._look.join(_STOP_S)
        self._talk.join(_STOP_S)
        if not self._talk.is_alive():
            self._say()

    def _exchange(self) -> None:
        while not self._stop.is_set():
            self._say()
            with suppress(dist.DistError):
                self._seen = self._read()
                self._seen_at = time.monotonic()
            self._news.wait(self.interval_s)
            self._news.clear()

    def _watch_over(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(self.interval_s):
            now = time.monotonic()
            is_old = now - self._seen_at > 2 * self.interval_s + _ANSWER_S
            # A process that was asleep, as its whole machine may have been, has not waited.
            elapsed_s = min(now - last, 2 * self.interval_s)
            reason = self._watch.look(self._sign(), None if is_old else self._seen, elapsed_s)
            last = now
            if reason is not None and not self._stop.is_set():
                self._give_up(reason)
                return

    def _sign(self) -> Beat:
        since_s = time.monotonic() - self._since
        ended = self._stop.is_set()
        return Beat(self._host, self._beat, self._meetings, self._doing, since_s, ended)

    def _say(self) -> None:
        self._beat += 1
        with suppress(dist.DistError):  # rank 0 is gone, which `Vigil` will say if it lasts
            self._store.set(_key(self._rank), json.dumps(asdict(self._sign())))

    def _read(self) -> dict[int, Beat]:
        others = [rank for rank in range(self._size) if rank != self._rank]
        there = [rank for rank in others if self._store.check([_key(rank)])]
        texts = self._store.multi_get([_key(rank) for rank in there]) if there else []
        return {rank: Beat(**json.loads(text)) for rank, text in zip(there, texts, strict=True)}


def end_with(reason: str) -> None:
    """End this process, whose main thread waits in a call that does not come back."""
    say(f"rvpo: {reason}; {_ADVICE}")
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    os._exit(USER_ERROR)


def _key(rank: int) -> str:
    return f"rvpo/pulse/{rank}"
