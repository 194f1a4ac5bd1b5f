"""All weights from rank 0 to all servers at once."""

from __future__ import annotations

from collections.abc import Sequence

from rvpo.errors import EngineError
from rvpo.rollout.engine import Weights
from rvpo.rollout.servers.buckets import Layout
from rvpo.rollout.servers.fan_out import Member, Patience
from rvpo.rollout.servers.http import Http
from rvpo.rollout.servers.links import Link
from rvpo.rollout.servers.own_address import address_for
from rvpo.rollout.servers.roster import Roster
from rvpo.rollout.servers.weight_group import GroupError, WeightGroup
from rvpo.rollout.vllm.failure import refuse_experts
from rvpo.runtime.ranks import Ranks


class Broadcast:
    """Implements `WeightSync`: rank 0 sends, the other ranks take their part in gathering.

    Who is there is asked before each sending, on rank 0. Where a server came, went or was started
    again, and where one fails meanwhile, a new group is formed of those that are left and all
    weights are sent again.

    Args:
        urls: the servers' addresses.
        address: this machine's, as the servers reach it; found out if None.
        in_flight: requests that servers have when weights come go on under the new ones.
    """

    def __init__(
        self,
        http: Http,
        link: Link,
        urls: Sequence[str],
        ranks: Ranks,
        *,
        address: str | None = None,
        in_flight: bool = False,
        patience: Patience | None = None,
    ) -> None:
        self._ranks = ranks
        self._losses: dict[str, str] = {}
        self._sending = _Sending(
            http, link, tuple(urls), address, patience or Patience(), in_flight=in_flight
        )

    @property
    def model(self) -> None:
        """See `WeightSync.model`: the servers have one model."""
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
        self._losses = self._ranks.first(self._sending.roster.losses)
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
        link: Link,
        urls: tuple[str, ...],
        address: str | None,
        patience: Patience,
        *,
        in_flight: bool,
    ) -> None:
        self._http = http
        self._link = link
        self._urls = urls
        self._address = address
        self._patience = patience
        self.roster = Roster(http, patience, in_flight=in_flight)
        self._group: WeightGroup | None = None
        self._version = -1
        """The last version that the servers of the group were given."""
        self._coming = -1
        self._failed: tuple[tuple[Member, ...], str] | None = None
        """Members of the group that failed last in this sending, and the words."""

    def begin(self, version: int) -> None:
        self._coming = version
        self._failed = None
        self.roster.losses.clear()

    def open(self, layout: Layout) -> bool:
        """Have a group of all servers that are there, paused.

        Returns:
            False where none is there.

        Raises:
            EngineError: the same servers fail a second time.
        """
        versions = self.roster.present(self._urls)
        members: tuple[Member, ...] = tuple(versions)
        has_all = self._group is not None and self._group.members == members
        if has_all and set(versions.values()) == {str(self._version)}:
            paused = self.roster.pause(members)
            if paused == members:
                return True
            members = paused
        while members := self.roster.prepare(members):
            self._leave()
            self._refuse_again(members)
            address = self._address or address_for(self._urls)
            try:
                self._group = WeightGroup(
                    self._http, self._link, members, address, layout, self._patience
                )
            except GroupError as error:
                words = f"no group of rank 0, at {address}, and the servers was formed ({error})"
                self._failed = members, words
            else:
                return True
        return False

    def send(self, weights: Weights) -> tuple[str, ...] | None:
        """Send all weights to the group.

        Returns:
            Addresses of the servers that have them and go on; None where it has to be done again.
        """
        group = self._group
        assert group is not None  # `open` said so
        try:
            group.send(weights.layout(), weights, self._coming)
        except GroupError as error:
            self._failed = group.members, str(error)
            self._leave()
            return None
        except BaseException:
            self._leave()
            raise
        self._version = self._coming
        serving = self.roster.resume(group.members, self._coming)
        for unfinished in group.unfinished:
            self.roster.leave_out(unfinished)
        if serving != group.members:
            self._leave()
        return tuple(member.url for member in serving)

    def close(self) -> None:
        self._leave()
        self.roster.release()

    def _refuse_again(self, members: tuple[Member, ...]) -> None:
        if self._failed is not None and self._failed[0] == members:
            raise EngineError(
                f"rollout.engine: the servers did not take new weights, twice: {self._failed[1]}"
            )

    def _leave(self) -> None:
        if self._group is not None:
            self._group.close()
            self._group = None
