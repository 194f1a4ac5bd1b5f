"""The one interface the loop knows of generation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from rvpo.rollout.further import Further
from rvpo.runtime.ignore import ignore
from rvpo.sampling import Sampling
from rvpo.types import Prompt, Rollout, Sample

if TYPE_CHECKING:
    import torch
    from torch import Tensor

OnSample = Callable[[int, Sample], None]
"""Told of each sample when it is finished, with its row in the rollout to come."""


class Weights(Protocol):
    """All weights of a policy, whole, under all the names that transformers' model has for them: a
    tied weight comes under each."""

    def layout(self) -> Sequence[tuple[str, torch.dtype, tuple[int, ...]]]:
        """Name, type and shape of what iteration will give, in its order."""
        ...

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        """Copies, a few gathered at a time, complete on the device when they come. Every rank must
        walk through all of them, by this or by `walk`."""
        ...

    def walk(self) -> None:
        """Take this rank's part in another rank's iteration over all of them, and keep nothing."""
        ...

    def as_saved(self) -> Weights:
        """The same under the names and in the form of a checkpoint; see `rollout.saved_form`."""
        ...


class RolloutEngine(Protocol):
    """Samples completions with the newest weights it was given.

    Memory choreography, such as sleeping between rollouts, is the engine's own business.
    """

    def generate(
        self,
        prompts: Sequence[Prompt],
        samples_per_prompt: int,
        seed: int,
        on_sample: OnSample = ignore,
        sampling: Sampling | None = None,
        further: Further | None = None,
    ) -> Rollout:
        """Sample every prompt `samples_per_prompt` times, siblings adjacent.

        `on_sample` hears of each sample once, as soon as it is finished and in any order, while
        others are still being generated; it must return at once. `sampling` replaces the engine's
        own for this call; where it is left out, and not every token can be drawn, samples carry the
        tokens that can (`Sample.supports`). Nothing of earlier calls has a part in it, such as
        prefixes cached by other weights.

        `further` are requests that arise while it generates: it is asked for them until there will
        be none. `on_sample` hears of theirs too; the rollout has the last sample of each row of the
        prompts. Without prompts the first requests are among them, with rows of their own.

        Token ids and log-probabilities are those of sampling, never of re-tokenised text, and
        each sample carries the version of the weights that made it; of each token, where weights
        came in between.

        Raises:
            DataError: a prompt leaves no room for a completion in the context.
            EngineError: no weights were loaded yet, or the engine failed.
        """
        ...

    def load_weights(self, weights: Weights, version: int) -> None:
        """Replace all weights. Nothing is generated meanwhile, unless `rollout.in_flight`: then
        another thread may be in `generate`, whose samples go on under the new weights.

        Args:
            weights: they stay as they are until the next ones come, for an engine that forgets them
                between two rollouts walks through them again, on every rank.

        Raises:
            EngineError: the engine has other weights, or failed, or did not answer in time.
        """
        ...

    def close(self) -> None:
        """Free the device and end any process started. Calling it twice does no harm."""
        ...
