"""The servers that may be asked, and the one that has least to do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rvpo.errors import EngineError

_NO_WEIGHTS = "has no weights yet"


class Pool:
    """Servers with the present weights, and the tokens that each still has to compute. Not safe
    among threads: one event loop has it.

    Args:
        servers: addresses of all that there are.
        least: number of them that must be there.
        rank: of this process. Ranks do not see each other's requests, so where servers are equal
            each rank begins with another one.
    """

    def __init__(self, servers: Sequence[str], least: int, rank: int = 0) -> None:
        self._words = dict.fromkeys(servers, _NO_WEIGHTS)
        """Last words of those that are out."""
        self._least = least
        self._rank = rank
        self._tokens: dict[str, int] = {}
        self._doubted: set[str] = set()

    @property
    def servers(self) -> tuple[str, ...]:
        """Those with the present weights."""
        return tuple(self._tokens)

    @property
    def ready(self) -> tuple[str, ...]:
        """Those that may be asked: with the present weights, and not in doubt."""
        return tuple(url for url in self._tokens if url not in self._doubted)

    @property
    def words(self) -> Mapping[str, str]:
        """Last words of each server that is out."""
        return self._words

    def tokens(self, url: str) -> int:
        """Tokens that a server still has to compute."""
        return self._tokens[url]

    def renew(self, servers: Collection[str], words: Mapping[str, str]) -> None:
        """Take in who has the weights that came last.

        Args:
            words: last words of those that have not.
        """
        everyone = dict.fromkeys((*self._words, *self._tokens, *servers))
        self._words = {
            url: words.get(url) or self._words.get(url) or _NO_WEIGHTS
            for url in everyone
            if url not in servers
        }
        self._tokens = {url: self._tokens.get(url, 0) for url in everyone if url in servers}
        self._doubted.clear()

    def check(self) -> None:
        """
        Raises:
            EngineError: fewer than `least` are there; with the last words of each of the others.
        """
        if len(self._tokens) >= self._least:
            return
        said = "; ".join(f"{url} {words}" for url, words in self._words.items())
        raise EngineError(
            f"{len(self._tokens)} of {len(self._words) + len(self._tokens)} servers can be asked, "
            f"and rollout.engine.least is {self._least}: {said}; see that they run, then continue "
            "with --resume"
        )

    def choose(self, among: Collection[str]) -> str | None:
        """The server with the fewest tokens to compute; None where none may be asked.

        Args:
            among: addresses of those to choose from.
        """
        able = [
            ((place - self._rank) % len(self._tokens), url)
            for place, url in enumerate(sorted(self._tokens))
            if url in among and url not in self._doubted
        ]
        return min(able, key=lambda each: (self._tokens[each[1]], each[0]), default=(0, None))[1]

    def add(self, url: str, tokens: int) -> None:
        """Note tokens that a server is to compute, or, below 0, has computed or need not."""
        if url in self._tokens:
            self._tokens[url] += tokens

    def doubt(self, url: str) -> None:
        """Ask a server for nothing until it is trusted again."""
        self._doubted.add(url)

    def trust(self, url: str) -> None:
        """Ask a server again."""
        self._doubted.discard(url)

    def lose(self, url: str, words: str) -> None:
        """Ask a server for nothing until the next weights.

        Args:
            words: its last ones, or those about it.
        """
        if url in self._tokens:
            del self._tokens[url]
            self._words[url] = words
        self._doubted.discard(url)
