"""The order in which samples are asked of servers, and of which one."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rvpo.rollout.servers.pool import Pool


@dataclass(slots=True)
class _Batch:
    """Samples of one prompt that go to one server, which then computes the prompt once."""

    rows: deque[int]
    without: str | None = None
    """The server that just failed one of them."""


class Routing:
    """A group goes as a whole to the server that has least to do, at the moment that one is free
    for it: not by a hash, which a full server cannot refuse. What was lost goes elsewhere. A row
    that goes on stays with the server that computed what was before, while that is there.

    Args:
        groups: rows of the samples of each prompt.
        tokens: those that each row may take to compute.
        at_once: samples that a server is asked for at once.
    """

    def __init__(
        self, pool: Pool, groups: Iterable[Sequence[int]], tokens: Sequence[int], at_once: int
    ) -> None:
        self._pool = pool
        self._tokens = dict(enumerate(tokens))
        self._at_once = at_once
        self._waiting = deque(_Batch(deque(group)) for group in groups)
        self._open: dict[str, _Batch] = {}
        """Batches of which a server has not been asked for every sample."""
        self._staying: dict[str, deque[int]] = {}
        """Rows that go on, by the server that they wait for."""
        self._last: dict[int, str] = {}
        """The server that each row was asked of last."""
        self._asked: dict[int, str] = {}
        self._in_flight: Counter[str] = Counter()

    @property
    def at(self) -> set[str]:
        """Servers that have something to do, or are meant for it."""
        return {*self._open, *self._staying, *self._asked.values()}

    def next(self) -> tuple[int, str] | None:
        """The next row, and the server to ask for it; None where all have to wait."""
        for url, rows in self._staying.items():
            if self._is_free(url):
                row = rows.popleft()
                if not rows:
                    del self._staying[url]
                return self._ask(row, url)
        self._assign()
        for url, batch in self._open.items():
            if self._is_free(url):
                row = batch.rows.popleft()
                if not batch.rows:
                    del self._open[url]
                return self._ask(row, url)
        return None

    def end(self, row: int) -> None:
        """A row is asked of nobody any more: it was answered, or lost."""
        url = self._last[row] = self._asked.pop(row)
        self._in_flight[url] -= 1
        self._pool.add(url, -self._tokens[row])

    def again(self, rows: Sequence[int], without: str | None = None) -> None:
        """Ask for rows of one prompt again, before others.

        Args:
            without: a server that others are to be preferred to.
        """
        self._waiting.appendleft(_Batch(deque(rows), without))

    def begin(self, tokens: Mapping[int, int]) -> None:
        """Ask for the first samples of further rows of one prompt, behind others that wait.

        Args:
            tokens: those that each row may take to compute.
        """
        self._tokens |= tokens
        self._waiting.append(_Batch(deque(tokens)))

    def go_on(self, row: int, tokens: int) -> None:
        """Ask for one more sample of a row that was answered, before others that wait.

        Args:
            tokens: those that it may take to compute.
        """
        self._tokens[row] = tokens
        url = self._last[row]
        if url in self._pool.servers:
            self._staying.setdefault(url, deque()).append(row)
            self._pool.add(url, tokens)
        else:
            self.again([row])

    def leave(self, url: str) -> list[int]:
        """Take away all that a server was to do.

        Returns:
            The rows that it was asked for; those that it was only meant for wait again.
        """
        if batch := self._open.pop(url, None):
            self._pool.add(url, -sum(self._tokens[row] for row in batch.rows))
            self._waiting.appendleft(batch)
        for row in self._staying.pop(url, ()):
            self._pool.add(url, -self._tokens[row])
            self.again([row])
        rows = [row for row, at in self._asked.items() if at == url]
        for row in rows:
            self.end(row)
        return rows

    def _ask(self, row: int, url: str) -> tuple[int, str]:
        self._asked[row] = url
        self._in_flight[url] += 1
        return row, url

    def _is_free(self, url: str) -> bool:
        return self._pool.is_ready(url) and self._in_flight[url] < self._at_once

    def _assign(self) -> None:
        """Find servers for batches. Where the one with the least to do has not been asked for all
        of its last batch, that is done first."""
        while free := [url for url in self._pool.ready if self._is_free(url)]:
            found = self._match(free)
            if found is None:
                return
            batch, url = found
            self._open[url] = batch
            self._pool.add(url, sum(self._tokens[row] for row in batch.rows))

    def _match(self, free: Sequence[str]) -> tuple[_Batch, str] | None:
        """A batch that waits, and its server."""
        for place, batch in enumerate(self._waiting):
            others = [url for url in self._pool.ready if url != batch.without]
            url = self._pool.choose([url for url in free if url in others] if others else free)
            if url in self._open:
                return None
            if url is not None:
                del self._waiting[place]
                return batch, url
        idle = [url for url in free if not self._pool.tokens(url)]
        rest = None if self._waiting or not idle else self._half()
        return None if rest is None else (rest, idle[0])

    def _half(self) -> _Batch | None:
        """Half of the most samples that wait for a place at their server."""
        stuck = {url: batch for url, batch in self._open.items() if not self._is_free(url)}
        if not stuck:
            return None
        url, batch = max(stuck.items(), key=lambda each: len(each[1].rows))
        rows = deque(batch.rows.pop() for _ in range((len(batch.rows) + 1) // 2))
        if not batch.rows:
            del self._open[url]
        self._pool.add(url, -sum(self._tokens[row] for row in rows))
        return _Batch(rows)
