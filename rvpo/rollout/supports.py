"""Tokens that could have been drawn in the place of each token of a completion.

A sampler that leaves tokens out divides the probability of the others anew. The policy's own
log-probabilities are those that were sampled by only over the same tokens.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from typing import Final

from rvpo.errors import EngineError

Supports = tuple[Sequence[int], Sequence[int]]
"""Those of a sample, as `Sample.supports` has them."""

_NONE: Final = -1000.0
"""Log-probability below which a token has none; vLLM writes -9999 and less for minus infinity."""
_LEAST: Final = 0.9
"""Least probability of all tokens that an engine tells of: beyond the number that it is asked for
are only those that are exactly as likely as the last of them."""
MOST_LIKELY: Final = 1024
"""Largest `top_k` whose tokens an engine is asked to tell."""


def told(top_k: int, vocabulary: int) -> int:
    """Number of the likeliest tokens to ask an engine for, at each place.

    vLLM keeps all tokens that are exactly as likely as the last of `top_k`, and numbers of 16 bits
    are often equal: hence some more.
    """
    return min(top_k + max(16, top_k // 8), vocabulary)


MOST_TOLD: Final = told(MOST_LIKELY, 2**31)
"""The most that is asked for."""


def told_supports(
    places: Iterable[tuple[Sequence[int], Sequence[float]]],
) -> Supports:
    """The supports of a sample.

    Args:
        places: ids and log-probabilities for each of its tokens, the drawn one first, and then the
            likeliest ones; one that cannot be drawn has next to none.

    Raises:
        EngineError: together they have not the probability that all have that can be drawn.
    """
    ids, counts = array("i"), array("i")
    for tokens, logprobs in places:
        found = {t: p for t, p in zip(tokens, logprobs, strict=True) if p > _NONE}
        mass = sum(map(math.exp, found.values()))
        if mass < _LEAST:
            raise EngineError(
                f"the engine told the probabilities of {len(found)} tokens that could be drawn, "
                f"which are {mass:.2f} together where all are 1; raise rollout.top_k, or leave it "
                "out with top_p and min_p"
            )
        ids.extend(found)
        counts.append(len(found))
    return ids, counts
