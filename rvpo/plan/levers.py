"""Changes that would make a run fit its GPUs, each tried before it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

from rvpo.config.run import RunConfig
from rvpo.plan.card import USABLE
from rvpo.plan.memory import (
    GIB,
    RESERVE,
    Place,
    engine_load,
    engine_memory,
    memory,
    rollout_samples,
)
from rvpo.plan.shape import ModelShape
from rvpo.rollout import EngineConfig

_SHARES: Final = tuple(n / 20 for n in range(19, 0, -1))
_MOST: Final = 3
"""Changes that are tried together."""
_TOLD: Final = 2
"""Ways by settings that are told."""
_MORE: Final = 8
"""Times as many GPUs, at most."""


@dataclass(frozen=True, slots=True)
class Way:
    """A run on its GPUs, and how it came to differ from the one that was asked for."""

    config: RunConfig
    place: Place
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        *before, last = self.words
        return f"{', '.join(before)} and {last}" if before else last

    def set(self, setting: str, value: object) -> Way:
        """The same with another value of a setting of `update`."""
        update = self.config.update.model_copy(update={setting: value})
        said = str(value).lower() if isinstance(value, bool) else value
        return Way(
            self.config.model_copy(update={"update": update}),
            self.place,
            (*self.words, f"update.{setting}={said}"),
        )

    def share(self, share: float) -> Iterator[Way]:
        """The same with another share of a GPU for the engine, where it takes one."""
        engine = self.config.rollout.engine.with_share(share)
        if engine is not None and engine != self.config.rollout.engine:
            yield self._engine(engine, f"gpu_memory={share:g}")

    def context(self, tokens: int) -> Way:
        """The same with no room for a longer prompt plus completion."""
        engine = self.config.rollout.engine.model_copy(update={"max_context_tokens": tokens})
        return self._engine(engine, f"max_context_tokens={tokens}")

    def _engine(self, engine: EngineConfig, words: str) -> Way:
        rollout = self.config.rollout.model_copy(update={"engine": engine})
        config = self.config.model_copy(update={"rollout": rollout})
        return Way(config, self.place, (*self.words, f"rollout.engine.{words}"))

    def fits(self, shape: ModelShape) -> bool:
        """True where every moment has room, and so has a sequence of full length."""
        assert self.place.device is not None
        cache = engine_memory(self.config, shape, self.place).cache
        whole = cache is None or cache.fits
        return whole and self.peak(shape) <= self.place.device

    def peak(self, shape: ModelShape) -> float:
        """Bytes of the GPU that takes most, be it one that trains or one for engines alone."""
        assert self.place.device is not None
        own = engine_memory(self.config, shape, self.place).own
        apart = own + RESERVE * self.place.device if own else 0.0
        return max(memory(self.config, shape, self.place).peak, apart)

    def at_once(self, shape: ModelShape) -> int:
        """Samples of full length that an engine generates at the same time."""
        cache = engine_memory(self.config, shape, self.place).cache
        if cache is None:
            return rollout_samples(self.config, self.place)
        length = engine_load(self.config, shape, self.place).sample_tokens
        return cache.at_once(min(length, cache.longest))

    def starves(self, shape: ModelShape) -> bool:
        """True where samples wait for room, while each step of those that do not reads more weights
        than keys and values: with more at once it would be nearly as fast, and make more tokens."""
        cache = engine_memory(self.config, shape, self.place).cache
        waiting = self.at_once(shape) < rollout_samples(self.config, self.place)
        weights = engine_load(self.config, shape, self.place).weights
        return cache is not None and waiting and cache.size < weights


Lever = Callable[[Way], Iterator[Way]]


def ways_to_fit(config: RunConfig, shape: ModelShape, place: Place) -> list[Way]:
    """The fewest changes that make everything fit: in at most two ways by settings, and with more
    GPUs where that saves a setting. Larger GPUs are tried where nothing else helps; no way is left
    where those do not help either."""
    start = Way(config, place)
    ways = _fewest(start, (), shape)[:_TOLD]
    more = _fewest(start, (_ranks,), shape)[:1]
    ways += [way for way in more if not ways or len(way.words) <= len(ways[0].words)]
    return (
        ways or _fewest(start, (_cards,), shape)[:1] or _fewest(start, (_cards, _ranks), shape)[:1]
    )


def _fewest(start: Way, always: tuple[Lever, ...], shape: ModelShape) -> list[Way]:
    """The ways that need the fewest settings beside some levers, the cheapest first."""
    for count in range(0 if always else 1, _MOST + 1 - len(always)):
        found = (_first(start, (*always, *more), shape) for more in combinations(_SETTINGS, count))
        if ways := [way for way in found if way is not None]:
            return ways[::-1]
    return []


def way_to_room(config: RunConfig, shape: ModelShape, place: Place) -> Way | None:
    """The smallest change of settings with which generation does not starve, or else the one with
    which most samples are generated at once; None where none gives more."""
    start = Way(config, place)
    best: Way | None = None
    for levers in ((_share,), (_moving, _share), (_offloading, _share)):
        way = _first(start, levers, shape)
        if way is None or way.at_once(shape) <= (best or start).at_once(shape):
            continue
        if not way.starves(shape):
            return way
        best = way
    return best


def _first(way: Way, levers: tuple[Lever, ...], shape: ModelShape) -> Way | None:
    """The first choice of each lever with which all fits."""
    if not levers:
        return way if way.fits(shape) else None
    found = (_first(changed, levers[1:], shape) for changed in levers[0](way))
    return next((each for each in found if each is not None), None)


def _share(way: Way) -> Iterator[Way]:
    for share in _SHARES:
        yield from way.share(share)


def _context(way: Way) -> Iterator[Way]:
    """No longer than a sample; benchmarks may need more."""
    rollout = way.config.rollout
    longest = way.place.prompt_tokens + rollout.max_completion_tokens
    limit = rollout.engine.max_context_tokens
    if (limit is None or limit > longest) and not way.config.evaluate.benchmarks.chosen():
        yield way.context(longest)


def _moving(way: Way) -> Iterator[Way]:
    if not way.config.update.offload_while_generating:
        yield way.set("offload_while_generating", True)


def _recomputing(way: Way) -> Iterator[Way]:
    if not way.config.update.activation_checkpointing:
        yield way.set("activation_checkpointing", True)


def _rows(way: Way) -> Iterator[Way]:
    shortest = way.place.prompt_tokens + way.config.rollout.max_completion_tokens
    tokens = way.config.update.micro_batch_tokens
    while tokens > shortest:
        tokens = max(tokens // 2, shortest)
        yield way.set("micro_batch_tokens", tokens)


def _offloading(way: Way) -> Iterator[Way]:
    if not way.config.update.offload_optimizer:
        yield way.set("offload_optimizer", True)


def _ranks(way: Way) -> Iterator[Way]:
    if way.config.rollout.engine.own_gpus():
        return  # which name the GPUs of each machine
    prompts = way.config.rollout.prompts_per_step
    for ranks in range(way.place.ranks + 1, min(prompts, _MORE * way.place.ranks) + 1):
        if prompts % ranks == 0:
            words = (*way.words, f"{ranks} such GPUs (distributed.processes={ranks})")
            yield Way(way.config, replace(way.place, ranks=ranks), words)


def _cards(way: Way) -> Iterator[Way]:
    assert way.place.device is not None
    for sold, gib in USABLE.items():
        if (larger := gib * GIB) > way.place.device:
            judge = way.place.judge * larger / way.place.device
            place = replace(way.place, device=larger, judge=judge)
            yield Way(way.config, place, (*way.words, f"GPUs sold as {sold} GB"))


_SETTINGS: Final[tuple[Lever, ...]] = (
    *(_offloading, _rows, _recomputing, _moving, _share, _context),
)
"""Costliest first, so that of several together the costlier one changes least."""
