"""An order in which prompts that teach little come seldom.

Prompts are visited as in the plain order, but a prompt whose groups told little is passed over in
some epochs: it is kept with a chance of what its groups told, and of `least` at any rate, since a
hopeless prompt becomes a possible one as the policy learns. What a group told is the share of the
weight of its rewards in which its samples differed, so a prompt that is easy or hopeless for one
reward and open for another still counts for the other. A prompt that no group has shown yet is
always kept. So the first epoch is that of the plain order, but for prompts that were sampled in the
place of others before their turn. Of sources with shares each is passed over in its own order, and
has its share of what is kept.

The chance is close to that of the next group to teach anything: among G samples of which each gets
a score of 0 or 1 with the probability p, it differs with 1 - p^G - (1 - p)^G.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from rvpo.data.order import PromptStream, Told, others
from rvpo.data.visits import epochs_in, shares_of, size_of, sources_of, visits
from rvpo.runtime.seed import derived_seed
from rvpo.types import Prompt

_NEWEST: Final = 0.5
"""Part of what is known of a prompt that its newest group has."""


class ByDifficulty:
    """See `PromptOrder` and the text of the module.

    The prompts of a step follow from those steps alone that were finished, however the machine was,
    when its rollout began: with rollouts made ahead, the newest are left out.

    Args:
        stream: the plain order.
        least: chance of any prompt to be kept, in (0, 1]; with 1 all are.
        lag: steps that rollouts are ahead at most, `rollout.staleness`.
    """

    name = "order"

    def __init__(self, stream: PromptStream, least: float, lag: int = 0) -> None:
        self._stream = stream
        self._least = least
        self._lag = lag
        self._known: dict[str, float] = {}
        self._newest: list[tuple[int, list[Told]]] = []  # of `lag` steps, not in `_known` yet
        self._starts: dict[int, tuple[int, ...]] = {}
        """Place in the plain order of each source at which a step begins, of those that are not
        concluded."""
        self._lock = threading.Lock()  # a rollout begins while a step is concluded

    def at(self, step: int) -> tuple[Prompt, ...]:
        """See `PromptOrder.at`."""
        with self._lock:
            known, places = self._known_at(step), list(self._start(step))
            prompts = []
            first = step * self._stream.per_step
            kept = self._kept(self._stream, first, places, known)
            for source, place, prompt in islice(kept, self._stream.per_step):
                places[source] = place + 1
                prompts.append(prompt)
            self._starts[step + 1] = tuple(places)
        return tuple(prompts)

    def instead(self, step: int, turn: int, count: int) -> tuple[Prompt, ...]:
        """See `PromptOrder.instead`. These are passed over by the same chance."""
        taken = self.at(step)
        with self._lock:
            known = self._known_at(step)
        apart, first = self._stream.apart(turn), step * self._stream.per_step
        kept = (prompt for _, _, prompt in self._kept(apart, first, self._plain(step), known))
        return others(islice(kept, apart.skipped(step), None), taken, count)

    def conclude(self, step: int, told: Sequence[Told]) -> dict[str, float]:
        """See `PromptOrder.conclude`."""
        with self._lock:
            self._newest.append((step, list(told)))
            while self._newest and self._newest[0][0] <= step - self._lag:
                _learn(self._known, self._newest.pop(0)[1])
            begun, ended = sum(self._start(step)), sum(self._start(step + 1))
            self._starts = {n: place for n, place in self._starts.items() if n > step}
            metrics = {"order/passed_over": float(ended - begun - self._stream.per_step)}
            if self._known:
                if size := size_of(self._stream.prompts):
                    metrics["order/known_frac"] = len(self._known) / size
                metrics["order/telling"] = sum(self._known.values()) / len(self._known)
            return metrics

    def epochs(self, steps: int) -> float:
        """See `PromptOrder.epochs`. Prompts that are passed over count as those that are not."""
        prompts = self._stream.prompts
        with self._lock:
            places = zip(self._start(steps), self._plain(steps), strict=True)
            passed_over = [place - plain for place, plain in places]
        return epochs_in(prompts, steps * self._stream.per_step, passed_over)

    def state(self) -> dict[str, Any]:
        """See `PromptOrder.state`."""
        with self._lock:
            newest = [[step, [list(each) for each in told]] for step, told in self._newest]
            start = min(self._starts.items(), default=None)
            return {
                "known": dict(self._known),
                "newest": newest,
                "start": None if start is None else [start[0], *start[1]],
            }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `PromptOrder.restore`."""
        with self._lock:
            self._known = dict(state["known"])
            self._newest = [
                (step, [(id, share) for id, share in told]) for step, told in state["newest"]
            ]
            step, *places = state["start"] or [0]
            # Where sources have got shares since, it goes on from the plain order.
            is_of_these = len(places) == len(sources_of(self._stream.prompts, 0))
            self._starts = {step: tuple(places)} if is_of_these else {}

    def _start(self, step: int) -> tuple[int, ...]:
        return self._starts.get(step, self._plain(step))

    def _plain(self, step: int) -> tuple[int, ...]:
        """Visits of each source before a step where none is passed over."""
        return shares_of(self._stream.prompts).drawn(step * self._stream.per_step)

    def _known_at(self, step: int) -> dict[str, float]:
        """Knowledge of the prompts where a step's rollout begins."""
        news = [told for done, told in self._newest if done < step - self._lag]
        if not news:
            return self._known
        known = dict(self._known)
        for told in news:
            _learn(known, told)
        return known

    def _kept(
        self, stream: PromptStream, first: int, places: Sequence[int], known: Mapping[str, float]
    ) -> Iterator[tuple[int, int, Prompt]]:
        """The prompts of a stream, each with its source and its place in the order of that, without
        end.

        Args:
            first: prompts that were kept before.
            places: those of each source from which on it is visited.
        """
        begun = zip(sources_of(stream.prompts, stream.seed), places, strict=True)
        parts = [self._kept_of(part, seed, place, known) for (part, seed), place in begun]
        for source, _ in shares_of(stream.prompts).endless(first):
            yield source, *next(parts[source])

    def _kept_of(
        self, prompts: Sequence[Prompt], seed: int, first: int, known: Mapping[str, float]
    ) -> Iterator[tuple[int, Prompt]]:
        for place, prompt in enumerate(visits(prompts, seed, first), first):
            chance = max(self._least, known.get(prompt.id, 1.0))
            if derived_seed(seed, "passed over", place) < chance * 2**31:
                yield place, prompt


def _learn(known: dict[str, float], told: Iterable[Told]) -> None:
    for id, share in told:
        before = known.get(id, 1.0)
        known[id] = before + _NEWEST * (share - before)
