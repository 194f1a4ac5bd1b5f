"""All weights from rank 0 to all servers at once."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

from rvpo.errors import EngineError
from rvpo.rollout.engine import Weights
from rvpo.rollout.servers.http import Http
from rvpo.rollout.servers.version_label import RunLabel
from rvpo.rollout.servers.weights.buckets import Layout
from rvpo.rollout.servers.weights.fan_out import Member, Patience
from rvpo.rollout.servers.weights.gloo_group import CUT
from rvpo.rollout.servers.weights.links import WeightLink
from rvpo.rollout.servers.weights.own_address import address_for
from rvpo.rollout.servers.weights.roster import Fits, Roster
from rvpo.rollout.servers.weights.weight_group import GroupError, WeightGroup
from rvpo.rollout.vllm.failure import refuse_experts
from rvpo.runtime.ranks import Ranks

_FAULTS: Final = 2
"""Times that a server may be at fault before it is left out until the next version."""
_TRIES: Final = 3
_CONSEQUENCE: Final = f"{CUT}|NCCL"
"""Words of a server that was cut off by another one's fault."""


class Broadcast:
    """Implements `WeightSync`: rank 0 sends, the other ranks take their part in gathering.

    Who is there is asked before each sending, on rank 0. Where a server came, went or was started
    again, and where one fails meanwhile, a new group is formed of those that are left and all
    weights are sent again.

    Args:
        urls: the servers' addresses.
        label: makes the names of versions; equal on all ranks.
        address: this machine's, as the servers reach it; found out if None.
        in_flight: requests that servers have when weights come go on under the new ones.
        fits: see `Roster`.
    """

    def __init__(
        self,
        http: Http,
        link: WeightLink,
        urls: Sequence[str],
        ranks: Ranks,
        label: RunLabel,
        *,
        address: str | None = None,
        in_flight: bool = False,
        patience: Patience | None = None,
        fits: Fits | None = None,
    ) -> None:
        self._ranks = ranks
        self._losses: dict[str, str] = {}
        self._sending = _Sending(
            http,
            link,
            tuple(urls),
            label,
            address,
            patience or Patience(),
            in_flight=in_flight,
            fits=fits,
        )

    @property
    def model(self) -> None:
        """See `WeightSync.model`: servers have the one that they are sent."""
        return None

    def send(self, weights: Weights, version: int) -> tuple[str, ...]:
        """See `WeightSync.send`."""
        saved = weights.as_saved()
        refuse_experts(weights, saved)
        serving: tuple[str, ...] | None = None
        self._sending.begin(version)
        while serving is None:
            with self._ranks.together():
                there = self._ranks.is_main and self._sending.open(saved.layout())
            if not self._ranks.first(there):
                serving = ()
            elif self._ranks.is_main:
                serving = self._ranks.first(self._sending.send(saved))
            else:
                saved.walk()
                serving = self._ranks.first(None)
        losses = self._ranks.first(self._sending.roster.losses)
        self._losses = {url: words for url, words in losses.items() if url not in serving}
        return serving

    def losses(self) -> dict[str, str]:
        """See `WeightSync.losses`."""
        return dict(self._losses)

    def close(self) -> None:
        """See `WeightSync.close`."""
        if self._ranks.is_main:
            self._sending.close()


class _Sending:
    """Rank 0's work."""

    def __init__(
        self,
        http: Http,
        link: WeightLink,
        urls: tuple[str, ...],
        label: RunLabel,
        address: str | None,
        patience: Patience,
        *,
        in_flight: bool,
        fits: Fits | None,
    ) -> None:
        self._http = http
        self._link = link
        self._urls = urls
        self._label = label
        self._address = address
        self._patience = patience
        self.roster = Roster(http, patience, label, in_flight=in_flight, fits=fits)
        self._group: WeightGroup | None = None
        self._version = -1
        """The last version that the servers of the group were given."""
        self._coming = -1
        self._faults: Counter[str] = Counter()
        """Times that each server was at fault, in sending this version."""
        self._in_vain = 0
        """Times that none was at fault, and it failed all the same."""
        self._hopeless = ""
        self._left_out: frozenset[str] = frozenset()
        """Those that the last version was not given to."""

    def begin(self, version: int) -> None:
        """Begin to send a version."""
        self._coming = version
        self._faults.clear()
        self._in_vain = 0
        self._hopeless = ""
        self.roster.losses.clear()

    def open(self, layout: Layout) -> bool:
        """Have a group of all servers that are there, paused.

        Returns:
            False where none is there.

        Raises:
            EngineError: it was tried several times in vain, through no fault of a server.
        """
        while not self._hopeless:
            out = {url for url, times in self._faults.items() if times >= _FAULTS}
            asked = [url for url in self._urls if url not in out]
            versions = self.roster.present(asked, self._left_out)
            members: tuple[Member, ...] = tuple(versions)
            stands = self._group is not None and self._group.members == members
            if stands and set(versions.values()) == {self._label.of(self._version)}:
                paused = self.roster.pause(members)
                if paused == members:
                    return True
                members = paused
            self._leave()
            members = self.roster.prepare(members)
            if not members or self._form(members, layout):
                return bool(members)
        raise EngineError(self._hopeless)

    def send(self, weights: Weights) -> tuple[str, ...] | None:
        """Send all weights to the group.

        Returns:
            Addresses of the servers that have them and go on; None where it has to be done again.
        """
        group = self._group
        assert group is not None  # `open` said so
        try:
            unfinished = group.send(weights.layout(), weights, self._label.of(self._coming))
        except GroupError as error:
            self._leave()
            self._judge(error, f"weights from rank 0, at {self._place}, did not reach the servers")
            return None
        except BaseException:
            self._leave()
            raise
        self._version = self._coming
        serving = self.roster.resume(group.members, self._coming)
        for fault in unfinished.values():
            self.roster.leave_out(fault)
        if serving != group.members:
            self._leave()
        urls = tuple(member.url for member in serving)
        self._left_out = frozenset(self._urls) - frozenset(urls)
        return urls

    def close(self) -> None:
        """Let go of servers that are paused."""
        self._leave()
        self.roster.release()

    def _form(self, members: tuple[Member, ...], layout: Layout) -> bool:
        try:
            self._group = WeightGroup(
                self._http, self._link, members, self._place, layout, self._patience
            )
        except GroupError as error:
            self._judge(error, f"servers and rank 0, at {self._place}, did not come together")
            return False
        return True

    @property
    def _place(self) -> str:
        return self._address or address_for(self._urls)

    def _judge(self, error: GroupError, what: str) -> None:
        """Count the faults of servers: who was cut off by another one has none. A server that is
        gone is noticed when all are asked again; it may need a moment to be."""
        at_fault = [e for e in error.errors.values() if not re.search(_CONSEQUENCE, e.reason)]
        for fault in at_fault:
            self._faults[fault.url] += 1
            self.roster.leave_out(fault)
        if at_fault:
            return
        self._in_vain += 1
        if self._in_vain >= _TRIES:
            self._hopeless = (
                f"rollout.engine: {what}, tried {_TRIES} times ({error}); see that the servers "
                "reach this machine at that address and at any port, and set "
                "rollout.engine.address where it has another one in their network"
            )
        time.sleep(self._in_vain * self._patience.again_s)

    def _leave(self) -> None:
        if self._group is not None:
            self._group.close()
            self._group = None
