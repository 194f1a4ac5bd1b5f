"""The groups of a step that are trained on: those that teach nothing give up their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from rvpo.agreement import summed
from rvpo.data.order import Told
from rvpo.rewards.scoring import Scoring
from rvpo.runtime.rows import picked, stacked
from rvpo.trainer.stream import Sampler
from rvpo.trainer.telling import telling
from rvpo.types import Rollout, RolloutScores

_OF_ONE_ROUND: Final = ("judge/wait_exposed_s", "judge/skipped_groups")
"""Metrics of scoring that a later round does not add to those of the rounds before it."""


@dataclass(frozen=True)
class Refill:
    """Scores the rollout of a step, and keeps as many of its groups as are trained on.

    A group is dead if no reward that carries weight tells its samples apart: one live reward is
    enough for it to stay. Other prompts are sampled and scored in place of dead groups, in so many
    rounds at most. One that lost its scores is not known to be dead, and is not replaced. Of all
    its groups each rank then keeps the first ones that tell samples apart; where there are too few,
    those that lost their scores, and then dead ones.

    Args:
        sampler: its engine may be asked by this thread at any time.
        per_step: P, groups that are trained on, over all ranks.
        rounds: `rollout.resample`.
    """

    sampler: Sampler
    per_step: int
    rounds: int = 0

    def __call__(
        self, step: int, rollout: Rollout, scoring: Scoring
    ) -> tuple[Rollout, RolloutScores]:
        """This rank's samples that are trained on, and the [N, M] scores of those of all ranks.

        Every rank must call. All know the scores of all, and so how many groups each one lacks.

        Raises:
            EngineError: the engine failed.
            RewardError, SpentError: see `Scoring.collect`.
        """
        ranks, found = self.sampler.ranks, _Found()
        scored = scoring.collect(rollout, ranks)
        found.add(rollout, scored, ranks.shares(len(telling(scored))))
        wanted = ranks.shares(self.per_step)
        for turn in range(self.rounds):
            lacking = found.lacking(wanted)
            if not any(lacking):
                break
            rollout, later = self.sampler.instead(step, turn, lacking)
            scored, scoring = later.collect(rollout, ranks, earlier=scoring), later
            found.add(rollout, scored, lacking)
        order = self.sampler.prompts.conclude(step, found.told)
        metrics = found.judging() | self._metrics(found) | order
        rollout, scored = found.kept(wanted, ranks.rank)
        return rollout, replace(scored, metrics=metrics)

    def _metrics(self, found: _Found) -> dict[str, float]:
        """Counts of the groups, where there may be more of them than are trained on."""
        generated = len(found.telling)
        if not self.rounds and generated == self.per_step:
            return {}
        own = sum(s.length for r in found.rollouts for s in r.samples)
        return {
            "groups/generated": float(generated),
            "groups/dead_frac": found.telling.count(0.0) / generated,
            "groups/resampled": float(generated - found.first),
            "groups/generated_tokens": float(sum(self.sampler.ranks.gather_objects(own))),
        }


@dataclass
class _Found:
    """All groups of a step so far, those of later rounds behind those of earlier ones."""

    rollouts: list[Rollout] = field(default_factory=list)
    """This rank's."""
    scores: list[RolloutScores] = field(default_factory=list)
    """Those of all ranks."""
    telling: list[float | None] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    """Rank of each group."""

    def add(self, rollout: Rollout, scored: RolloutScores, shares: Sequence[int]) -> None:
        """Take a round in.

        Args:
            shares: groups of each rank.
        """
        self.rollouts.append(rollout)
        self.scores.append(scored)
        self.telling += telling(scored)
        self.owners += [rank for rank, count in enumerate(shares) for _ in range(count)]

    @property
    def first(self) -> int:
        """Groups of the first round."""
        return len(self.scores[0].rewards.values) // self.rollouts[0].group_size

    @property
    def told(self) -> list[Told]:
        """Share that each group told, where it is known."""
        ids = [id for scored in self.scores for id in scored.rewards.prompts or ()]
        groups = zip(ids, self.telling, strict=True)
        return [(id, share) for id, share in groups if share is not None]

    def lacking(self, wanted: Sequence[int]) -> list[int]:
        """Live groups that each rank has too few.

        Args:
            wanted: groups that it trains on.
        """
        live = [rank for rank, share in zip(self.owners, self.telling, strict=True) if share != 0]
        return [max(0, count - live.count(rank)) for rank, count in enumerate(wanted)]

    def kept(self, wanted: Sequence[int], own: int) -> tuple[Rollout, RolloutScores]:
        """The groups that are trained on.

        Args:
            wanted: number of each rank.
            own: this rank.
        """
        chosen: list[int] = []
        for rank, count in enumerate(wanted):
            of_rank = [group for group, owner in enumerate(self.owners) if owner == rank]
            best_first = sorted(of_rank, key=self._rank_of)
            chosen += sorted(best_first[:count])
        rows = self._own_rows(chosen, own)
        samples = [sample for rollout in self.rollouts for sample in rollout.samples]
        made = self.rollouts[0].generation
        if made.seconds is not None:  # of all rounds, in which these samples were found
            made = replace(made, seconds=sum(r.generation.seconds or 0.0 for r in self.rollouts))
        rollout = Rollout(
            samples=tuple(samples[row] for row in rows),
            group_size=self.rollouts[0].group_size,
            generation=made,
        )
        scored = replace(
            picked(stacked(self.scores), chosen),
            agreements=summed(scored.agreements for scored in self.scores),
            extras=self._extras(rows),
        )
        return rollout, scored

    def _rank_of(self, group: int) -> int:
        """Order in which groups are trained on: a live one, one that may be, a dead one."""
        share = self.telling[group]
        return 1 if share is None else 2 * (share == 0)

    def _own_rows(self, chosen: Sequence[int], own: int) -> list[int]:
        """Places of a rank's samples that are trained on among all that it has."""
        size, stay = self.rollouts[0].group_size, set(chosen)
        mine = [group for group, owner in enumerate(self.owners) if owner == own]
        starts = [size * place for place, group in enumerate(mine) if group in stay]
        return [row for start in starts for row in range(start, start + size)]

    def _extras(self, rows: Sequence[int]) -> dict[str, dict[str, list[Any]]]:
        """Values that reward functions logged of these samples; None where a round has none."""
        names = {
            (r, column): None for s in self.scores for r, c in s.extras.items() for column in c
        }
        extras: dict[str, dict[str, list[Any]]] = {}
        for reward, column in names:
            values: list[Any] = []
            for rollout, scored in zip(self.rollouts, self.scores, strict=True):
                lacking = [None] * len(rollout.samples)
                values += scored.extras.get(reward, {}).get(column, lacking)
            extras.setdefault(reward, {})[column] = [values[row] for row in rows]
        return extras

    def judging(self) -> dict[str, float]:
        """Metrics of scoring, of all rounds."""
        metrics = dict(self.scores[-1].metrics)
        for name in _OF_ONE_ROUND:
            values = [s.metrics[name] for s in self.scores if name in s.metrics]
            metrics |= {name: sum(values)} if values else {}
        return metrics
