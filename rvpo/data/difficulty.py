"""An order in which prompts that teach little come seldom.

Prompts are visited as in the plain order, but a prompt whose groups told little is passed over in
some epochs: it is kept with a chance of what its groups told, and of `least` at any rate, since a
hopeless prompt becomes a possible one as the policy learns. What a group told is the share of the
weight of its rewards in which its samples differed, so a prompt that is easy or hopeless for one
reward and open for another still counts for the other. An unseen prompt is always kept, and the
first epoch is that of the plain order.

The chance is close to that of the next group to teach anything: among G samples of which each gets
a score of 0 or 1 with the probability p, it differs with 1 - p^G - (1 - p)^G.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from rvpo.data.order import PromptStream, Told, others
from rvpo.data.visits import epoch_size
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
        self._starts: dict[int, int] = {}
        """Place of the plain order at which a step begins, of those that are not concluded."""
        self._lock = threading.Lock()  # a rollout begins while a step is concluded

    def at(self, step: int) -> tuple[Prompt, ...]:
        """See `PromptOrder.at`."""
        with self._lock:
            known, place = self._known_at(step), self._start(step)
            kept = islice(self._kept(self._stream, place, known), self._stream.per_step)
            places, prompts = zip(*kept, strict=True)
            self._starts[step + 1] = places[-1] + 1
        return tuple(prompts)

    def instead(self, step: int, turn: int, count: int) -> tuple[Prompt, ...]:
        """See `PromptOrder.instead`. These are passed over by the same chance."""
        taken = self.at(step)
        with self._lock:
            known = self._known_at(step)
        kept = self._kept(self._stream.apart(turn), step * self._stream.per_step, known)
        return others((prompt for _, prompt in kept), taken, count)

    def conclude(self, step: int, told: Sequence[Told]) -> dict[str, float]:
        """See `PromptOrder.conclude`."""
        with self._lock:
            self._newest.append((step, list(told)))
            while self._newest and self._newest[0][0] <= step - self._lag:
                _learn(self._known, self._newest.pop(0)[1])
            begun, ended = self._start(step), self._start(step + 1)
            self._starts = {n: place for n, place in self._starts.items() if n > step}
            metrics = {"order/passed_over": float(ended - begun - self._stream.per_step)}
            if self._known:
                every = max(len(self._known), len(self._stream.prompts))  # a stream has more
                metrics["order/known_frac"] = len(self._known) / every
                metrics["order/telling"] = sum(self._known.values()) / len(self._known)
            return metrics

    def epochs(self, steps: int) -> float:
        """See `PromptOrder.epochs`. Prompts that are passed over count as those that are not."""
        with self._lock:
            size = epoch_size(self._stream.prompts)
            return self._start(steps) / size if size else 0.0

    def state(self) -> dict[str, Any]:
        """See `PromptOrder.state`."""
        with self._lock:
            newest = [[step, [list(each) for each in told]] for step, told in self._newest]
            start = min(self._starts.items(), default=None)
            return {
                "known": dict(self._known),
                "newest": newest,
                "start": None if start is None else list(start),
            }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `PromptOrder.restore`."""
        with self._lock:
            self._known = dict(state["known"])
            self._newest = [
                (step, [(id, share) for id, share in told]) for step, told in state["newest"]
            ]
            self._starts = dict([state["start"]] if state["start"] else [])

    def _start(self, step: int) -> int:
        return self._starts.get(step, step * self._stream.per_step)

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
        self, stream: PromptStream, first: int, known: Mapping[str, float]
    ) -> Iterator[tuple[int, Prompt]]:
        """The prompts of a stream from a place on, each with its own, without end."""
        for place, prompt in enumerate(stream.visits(first), first):
            chance = max(self._least, known.get(prompt.id, 1.0))
            if derived_seed(stream.seed, "passed over", place) < chance * 2**31:
                yield place, prompt


def _learn(known: dict[str, float], told: Iterable[Told]) -> None:
    for id, share in told:
        before = known.get(id, 1.0)
        known[id] = before + _NEWEST * (share - before)
