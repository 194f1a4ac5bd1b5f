"""Rank 0 and the workers of several servers, as one group that weights are sent to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from queue import Empty, SimpleQueue

from rvpo.rollout.servers.http import Http, ServerError
from rvpo.rollout.servers.weights.aside import aside
from rvpo.rollout.servers.weights.buckets import Layout
from rvpo.rollout.servers.weights.fan_out import FanOut, Member, Patience
from rvpo.rollout.servers.weights.feed import Feed, NamedWeight
from rvpo.rollout.servers.weights.links import Sender, WeightLink


class GroupError(Exception):
    """A group that was not formed, or in which not all weights were sent.

    Args:
        errors: those of servers, by their addresses; some may be a consequence of others.
    """

    def __init__(self, error: BaseException, errors: Mapping[str, ServerError]) -> None:
        super().__init__(str(error) or type(error).__name__)
        self.errors = errors


class WeightGroup:
    """One group; when one of its sendings has failed it is of no more use.

    Exchanges with the servers are made in threads of their own, so that no exchange that hangs, and
    no server that does not answer, holds up the thread that gathers.

    Raises:
        GroupError: not all members came.
    """

    def __init__(
        self,
        http: Http,
        link: WeightLink,
        members: Sequence[Member],
        address: str,
        layout: Layout,
        patience: Patience,
    ) -> None:
        self.members = tuple(members)
        self._patience = patience
        self._feed: Feed | None = None
        self._first: SimpleQueue[Sender | BaseException] = SimpleQueue()
        fan_out = self._fan_out = FanOut(http, members, patience, self._failed)
        size = 1 + sum(member.workers for member in members)
        forming = aside(lambda: link.connect(fan_out, address, size, layout))
        forming.add_done_callback(lambda done: self._first.put(done.exception() or done.result()))
        try:
            outcome = self._first.get(timeout=patience.form_s + patience.answer_s)
        except Empty:
            outcome = TimeoutError("they did not come together in time")
        if isinstance(outcome, BaseException):
            raise GroupError(outcome, fan_out.errors(patience.settle_s)) from outcome
        self._sender: Sender = outcome

    def send(
        self, layout: Layout, weights: Iterable[NamedWeight], version: str
    ) -> dict[str, ServerError]:
        """Send all weights to all members. It walks through all of them, whatever happens.

        Args:
            version: the name of their version.

        Returns:
            Errors of servers that took all of them and failed then, by their addresses.

        Raises:
            GroupError: not every member took all of them.
        """
        patience = self._patience
        feed = self._feed = Feed(layout, patience.silence_s)
        self._fan_out.begin(version)
        sending = aside(lambda: self._sender.send(feed))
        sending.add_done_callback(lambda done: feed.finish(done.exception()))
        feed.give(weights)
        error = feed.outcome(patience.silence_s + patience.answer_s)
        if error is None:
            return self._fan_out.errors(0.0)
        self.close()  # or the servers would wait for more
        raise GroupError(error, self._fan_out.errors(patience.settle_s)) from error

    def close(self) -> None:
        """Leave the group; calling it twice does no harm."""
        self._sender.close()

    def _failed(self, error: ServerError) -> None:
        self._first.put(error)
        if self._feed is not None:
            self._feed.finish(error)
