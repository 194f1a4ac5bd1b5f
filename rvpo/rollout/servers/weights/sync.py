"""The way of new weights to the servers, as far as the engine knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rvpo.rollout.engine import Weights


class WeightSync(Protocol):
    """Gives all servers the same weights.

    One is built on every rank, from the servers' addresses, the engine's settings and inputs, and
    the rank's `Http`.
    """

    @property
    def model(self) -> str | None:
        """Name under which servers know the weights that were sent, as requests have to give it;
        None where it is their only model."""
        ...

    def send(self, weights: Weights, version: int) -> tuple[str, ...]:
        """Replace the weights of all servers that answer. Every rank must call.

        Args:
            weights: every rank walks through all of them.
            version: the servers mark each token with it from now on.

        Returns:
            The addresses of those that say themselves that they have this version, equal on all
            ranks; possibly none.

        Raises:
            EngineError: the servers have another model, or the trainer's side failed.
        """
        ...

    def losses(self) -> dict[str, str]:
        """Last words of each server that the last `send` left out, by its address; equal on all
        ranks."""
        ...

    def close(self) -> None:
        """Let the servers go. Calling it twice does no harm."""
        ...
