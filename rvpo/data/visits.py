"""Visits of prompts without end, in an order that a seed decides."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice

from rvpo.data.mixture import Mixture
from rvpo.data.packed import Picked
from rvpo.data.shares import Shares, source_seed
from rvpo.data.streamed import Streamed
from rvpo.types import Prompt


def visits(prompts: Sequence[Prompt], seed: int, first: int = 0) -> Iterator[Prompt]:
    """Every prompt from a place on, in the order in which they are visited, without end.

    Each epoch visits all of them once, in an order of its own. Of a mixture each source has epochs
    of its own, and of a stream rows are read on the way.

    Args:
        first: visits to pass over.
    """
    match prompts:
        case Streamed():
            yield from prompts.visits(seed, first)
        case Mixture():
            yield from _mixed(prompts, seed, first)
        case _:
            size, place = len(prompts), first
            while True:
                yield prompts[order(size, seed, place // size)[place % size]]
                place += 1


def first_of(prompts: Sequence[Prompt], seed: int, count: int) -> Sequence[Prompt]:
    """The prompts that the first so many visits meet, in the order of their first visits; of a
    stream those alone that are read before the start."""
    match prompts:
        case Streamed():
            return prompts[:count]
        case Mixture():
            return Picked(prompts, list(_places(prompts, seed, count)))
    return Picked(prompts, order(len(prompts), seed, 0)[:count])


def sources_of(prompts: Sequence[Prompt], seed: int) -> list[tuple[Sequence[Prompt], int]]:
    """The sources that are visited in orders of their own, each with the seed of its order."""
    if isinstance(prompts, Mixture):
        return [(part, source_seed(seed, n)) for n, part in enumerate(prompts.parts)]
    return [(prompts, seed)]


def shares_of(prompts: Sequence[Prompt]) -> Shares:
    """The share of each of them."""
    return prompts.shares if isinstance(prompts, Mixture) else Shares((1.0,))


def size_of(prompts: Sequence[Prompt]) -> int:
    """Number of the prompts, also those of a stream; 0 where that is not known yet."""
    sizes = [epoch_size(part) for part, _ in sources_of(prompts, 0)]
    return int(sum(sizes)) if all(sizes) else 0


def is_first_epoch(prompts: Sequence[Prompt], count: int) -> bool:
    """True where it is known that the first so many visits meet none of the prompts twice."""
    every = zip(sources_of(prompts, 0), shares_of(prompts).drawn(count), strict=True)
    return all(drawn <= epoch_size(part) for (part, _), drawn in every)


def epoch_size(prompts: Sequence[Prompt]) -> float:
    """Visits in which each prompt is met once; of a mixture, each of the source that is visited
    least. 0 where that is not known yet."""
    match prompts:
        case Streamed():
            return prompts.known_size
        case Mixture():
            total = sum(prompts.shares.shares)
            sizes = list(map(epoch_size, prompts.parts))
            each = zip(sizes, prompts.shares.shares, strict=True)
            return max(size * total / share for size, share in each) if all(sizes) else 0
    return len(prompts)


def epochs_in(prompts: Sequence[Prompt], kept: int, passed_over: Sequence[int]) -> float:
    """Epochs in so many visits and, of each source, those that are passed over; of a mixture, the
    epochs of the source that is visited least. 0 where that is not known yet."""
    shares = shares_of(prompts).shares
    sizes = [epoch_size(part) for part, _ in sources_of(prompts, 0)]
    if not all(sizes):
        return 0.0
    every = zip(sizes, shares, passed_over, strict=True)
    return min((kept * share / sum(shares) + passed) / size for size, share, passed in every)


def _mixed(mixture: Mixture, seed: int, first: int) -> Iterator[Prompt]:
    before = zip(sources_of(mixture, seed), mixture.shares.drawn(first), strict=True)
    parts = [visits(part, own, drawn) for (part, own), drawn in before]
    for source, _ in mixture.shares.endless(first):
        yield next(parts[source])


def _places(mixture: Mixture, seed: int, count: int) -> Iterator[int]:
    """Places in the mixture of the prompts that the first so many draws meet, each once."""
    for source, drawn in islice(mixture.shares.endless(), count):
        part = mixture.parts[source]
        if drawn < len(part):
            is_read = isinstance(part, Streamed)
            own = drawn if is_read else order(len(part), source_seed(seed, source), 0)[drawn]
            yield mixture.starts[source] + own


@lru_cache(maxsize=16)  # a step begins in one epoch and may end in the next, of each source
def order(size: int, seed: int, epoch: int) -> Sequence[int]:
    """[size] places in the order in which an epoch visits them."""
    places = array("q", range(size))
    # Seeded by text, which Python hashes with SHA-512: every process gets the same order.
    random.Random(f"{seed}/{epoch}").shuffle(places)
    return places
