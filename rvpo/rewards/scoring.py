"""The scores of one rollout in the making."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rvpo.agreement import Agreement, summed
from rvpo.config.judges import OWN, place_of
from rvpo.errors import RewardError
from rvpo.judge.types import Answer, Question
from rvpo.rewards.arguments import arguments_of, column_names, in_world
from rvpo.rewards.budget import check_episodes, keep_within
from rvpo.rewards.cell import Cell, Column, assemble
from rvpo.rewards.comparison import ComparisonReward
from rvpo.rewards.condition import conditioned
from rvpo.rewards.judge_metrics import every_tally, judge_metrics, waiting_metrics
from rvpo.rewards.judged import JudgedReward
from rvpo.rewards.judging import EVERYTHING, AskedJudge, Judging, Notice, Selection, Verdicts
from rvpo.rewards.logged import Logbook, Logged, Sum, interleaved, means
from rvpo.rewards.reliability import agreements
from rvpo.rewards.repeats import NOT_REPEATED, ONCE, Repeating
from rvpo.rewards.reward import Reward
from rvpo.rewards.spare import added
from rvpo.rewards.trainer_state import BEFORE, TrainerState
from rvpo.runtime.event_loop import EventLoop
from rvpo.runtime.ignore import ignore
from rvpo.schedule import value_at
from rvpo.types import Failed, RewardScore, Rollout, RolloutScores, Sample

if TYPE_CHECKING:
    from rvpo.runtime.ranks import Ranks

AnyReward = Reward | JudgedReward | ComparisonReward


class Scoring:
    """Takes samples as they are finished, and gives the reward matrix when all are there.

    The judge is asked about a sample at once. When the rollout is complete, sync functions run
    one after another, then the async ones together in the run's event loop, all while the judge
    goes on; what is then still missing is waited for.

    Args:
        rewards: the columns come in their order.
        judges: those that they name.
        progress: share of training done, for weights that change.
        notice: hears of it while answers are waited for long.
        loop: runs async functions; one of its own if left out.
        say: hears what the judge's endpoints do that was not asked of them; often the same, for
            each worker finds it out.
        seed: chooses the verdicts that are asked for again, the same on every rank; none if left
            out.
        selection: choices of what is asked.
        state: state of training, of which functions are told.
    """

    def __init__(
        self,
        rewards: Sequence[AnyReward],
        judges: Mapping[str, AskedJudge],
        progress: float,
        notice: Notice = ignore,
        loop: EventLoop | None = None,
        say: Notice = ignore,
        seed: int | None = None,
        selection: Selection = EVERYTHING,
        state: TrainerState = BEFORE,
        episodes_lost: float = 1.0,
    ) -> None:
        self._episodes_lost = episodes_lost
        self._rewards = rewards
        self._state = state
        self._selection = selection
        self._say = say
        self._loop = EventLoop() if loop is None else loop
        self._judges = judges
        self._seed = seed
        self._weights = {reward.name: value_at(reward.weight, progress) for reward in rewards}
        carrying = [reward for reward in rewards if self._weights[reward.name] > 0]
        # A reward that others are conditioned on decides over what they train.
        gates = [reward.condition.reward for reward in carrying if reward.condition is not None]
        trained = frozenset((*(reward.name for reward in carrying), *gates))
        self._judged = [reward for reward in rewards if not isinstance(reward, Reward)]
        self._again = {
            name: repeats.times
            for name, asked in judges.items()
            if (repeats := self._repeats(asked)).times > 1
            if any(reward.judge == name for reward in self._judged)
        }
        self.counted: Mapping[str, Sequence[Verdicts]] = {}
        """Counts of the answers that metrics are of, by judge, once they are collected."""
        self.logged: Sequence[Mapping[str, Sum]] = ()
        """Metrics that functions logged, of each rank, likewise."""
        self._judging = {
            name: self._judging_by(name, trained, notice)
            for name in dict.fromkeys(reward.judge for reward in self._judged)
        }

    def _judging_by(self, name: str, trained: frozenset[str], notice: Notice) -> Judging:
        given = [reward for reward in self._judged if reward.judge == name]
        asked = self._judges.get(name)
        if asked is None:
            raise RewardError(f"reward '{given[0].name}' needs a judge, and there is none")
        if name != OWN:
            notice = partial(_named, notice, place_of(name))
        repeats = self._repeats(asked)
        return Judging(given, trained, asked.judge, asked.budget, notice, repeats, self._selection)

    def _repeats(self, asked: AskedJudge) -> Repeating:
        if asked.repeat is None or self._seed is None:
            return ONCE
        return Repeating(asked.repeat.times, asked.repeat.share, self._seed)

    def take(self, row: int, sample: Sample) -> None:
        """Ask the judge about a sample, given its row in the rollout; returns at once."""
        for judging in self._judging.values():
            judging.ask(row, sample)

    def collect(
        self, rollout: Rollout, ranks: Ranks | None = None, earlier: Scoring | None = None
    ) -> RolloutScores:
        """Score every sample with every reward.

        Args:
            rollout: this rank's samples, those taken before included.
            ranks: those of the matrix's samples, every rank calling; this one's alone if left
                out.
            earlier: scoring of other samples of the step, whose answers the metrics count too.

        Returns:
            The [N, M] rewards of all ranks; a score that does not apply or failed is not valid, and
            one that failed has its reason in `failures`.

        Raises:
            RewardError: a function raised or broke its contract (the message names the reward
                and the prompt), or the judge or the environment failed more often than its budget
                allows.
        """
        for judging in self._judging.values():
            judging.ask_rest(rollout.samples, rollout.group_size)
        computed, logged = self._computed(rollout.samples)
        needed = {name: each.needed(rollout.samples) for name, each in self._judging.items()}
        every = [needed] if ranks is None else ranks.gather_objects(needed)
        verdicts = {
            name: judging.finish(rollout.samples, sum(each[name] for each in every))
            for name, judging in self._judging.items()
        }
        answers = {name: each.answers for name, each in verdicts.items()}
        cells = self._cells(rollout, computed, answers)
        scored = self._matrix(rollout, cells)
        agreed = self._agreements(rollout, computed, verdicts, cells, scored)
        if ranks is not None:
            scored = ranks.gather(scored)
            if self._again:
                agreed = summed(ranks.gather_objects(agreed))
        counts = {name: each.without_answers() for name, each in verdicts.items()}
        own_part = (counts, logged.metrics, [sample.missing for sample in rollout.samples])
        parts = [own_part] if ranks is None else ranks.gather_objects(own_part)
        check_episodes(self._episodes_lost, [reason for *_, part in parts for reason in part])
        by_judge = {name: [part[name] for part, *_ in parts] for name in self._judging}
        if self._selection.spared is not None:
            counts_of = (part.settling for each, *_ in parts for part in each.values())
            self._selection.spared.conclude(added(counts_of))
        for text in every_tally(by_judge.values()).news:
            self._say(text)
        before = {} if earlier is None else earlier.counted
        self.counted = {name: [*before.get(name, ()), *each] for name, each in by_judge.items()}
        self.logged = [] if earlier is None else list(earlier.logged)
        self.logged += [metrics for _, metrics, _ in parts]
        scored = replace(
            scored,
            metrics=judge_metrics(self.counted) | waiting_metrics(by_judge) | means(self.logged),
            extras=logged.extras,
            agreements=agreed,
        )
        return self._within_budgets(scored, by_judge)

    def _within_budgets(
        self, scored: RolloutScores, by_judge: Mapping[str, Sequence[Verdicts]]
    ) -> RolloutScores:
        """The scores without the groups that lost more verdicts than their judge may lose.

        Raises:
            RewardError: the step lost more than that.
        """
        for name, of_ranks in by_judge.items():
            scored = keep_within(
                self._judges[name].budget,
                scored,
                asked=[count for part in of_ranks for count in part.asked],
                failed=[count for part in of_ranks for count in part.failed],
                failures=sum((part.failures for part in of_ranks), Counter()),
                details=every_tally([of_ranks]).details,
                where=place_of(name),
            )
        return scored

    def _computed(self, samples: Sequence[Sample]) -> tuple[dict[str, list[Cell]], Logged]:
        """[N] cells of each function reward, and what the functions logged. Episodes that have no
        score are not shown to them; none are called where there are no others."""
        functions = [reward for reward in self._rewards if isinstance(reward, Reward)]
        lost: dict[int, RewardScore] = {
            row: Failed(sample.missing) for row, sample in enumerate(samples) if sample.missing
        }
        shown = [sample for sample in samples if not sample.missing]
        scores, logged = self._scores(functions, shown)
        return {
            name: [Cell(score, aspects=(name,)) for score in interleaved(each, lost)]
            for name, each in scores.items()
        }, logged.without(sorted(lost))

    def _scores(
        self, functions: Sequence[Reward], samples: Sequence[Sample]
    ) -> tuple[dict[str, list[RewardScore]], Logged]:
        """[N] scores of each function, and what they logged."""
        if not samples:
            return {reward.name: [] for reward in functions}, Logged()
        ids = [sample.prompt.id for sample in samples]
        columns = column_names([sample.prompt for sample in samples])
        for reward in functions:
            reward.check_columns(columns, in_world(samples))
        # Each has arguments of its own: what one does to them, the others must not see.
        books = {reward.name: Logbook(reward.name) for reward in functions}
        scores = {
            r.name: r.scores(arguments_of(r, samples, self._state, books[r.name]), ids)
            for r in functions
            if not r.is_async
        }
        awaited = [reward for reward in functions if reward.is_async]
        if awaited:
            calls = [(r, arguments_of(r, samples, self._state, books[r.name])) for r in awaited]
            found = self._loop.run(_together(calls, ids))
            scores |= {reward.name: s for reward, s in zip(awaited, found, strict=True)}
        logged = Logged()
        for reward in functions:
            logged |= books[reward.name].logged(len(samples), reward.without_secrets)
        return scores, logged

    def _cells(
        self,
        rollout: Rollout,
        computed: Mapping[str, list[Cell]],
        answers: Mapping[str, Sequence[Mapping[Question, Answer]]],
    ) -> dict[str, Sequence[Sequence[Cell]]]:
        """Columns of cells by reward.

        Args:
            answers: [N] each judge's.
        """
        cells = {name: [each] for name, each in computed.items()}
        for reward in self._judged:
            rows = self._judging[reward.judge].cells(reward, answers[reward.judge])
            columns = range(len(reward.columns))
            cells[reward.name] = [[row[column] for row in rows] for column in columns]
        return {reward.name: _after_condition(reward, cells) for reward in self._rewards}

    def _matrix(
        self, rollout: Rollout, cells: Mapping[str, Sequence[Sequence[Cell]]]
    ) -> RolloutScores:
        return assemble(
            [
                Column(name, self._weights[reward.name], column, reward.satisfied)
                for reward in self._rewards
                for name, column in zip(reward.columns, cells[reward.name], strict=True)
            ],
            [aspect for reward in self._rewards for aspect in reward.aspects],
            rollout.group_size,
            [sample.prompt.id for sample in rollout.samples[:: rollout.group_size]],
        )

    def _agreements(
        self,
        rollout: Rollout,
        computed: Mapping[str, list[Cell]],
        verdicts: Mapping[str, Verdicts],
        cells: Mapping[str, Sequence[Sequence[Cell]]],
        scored: RolloutScores,
    ) -> dict[str, Agreement]:
        """Agreement of this rank's scores with their repeats.

        The repeats are scored as everything is: of the score that trains, conditions included, the
        reliability is asked. A judge that is not asked again answers as it did.
        """
        if not self._again:
            return {}
        repeats = []
        for repeat in range(max(self._again.values()) - 1):
            answers = {name: self._again_of(name, verdicts[name], repeat) for name in verdicts}
            repeats.append(self._matrix(rollout, self._cells(rollout, computed, answers)))
        parts = {
            cell.part
            for reward in self._judged
            if reward.judge in self._again
            for column in cells[reward.name]
            for cell in column
        }
        return agreements(scored, repeats, sorted(parts - {""}))

    def _again_of(
        self, judge: str, verdicts: Verdicts, repeat: int
    ) -> Sequence[Mapping[Question, Answer]]:
        """[N] a judge's answers to a repeat."""
        if judge not in self._again:
            return verdicts.answers
        none = [dict.fromkeys(answers, NOT_REPEATED) for answers in verdicts.answers]
        if repeat >= len(verdicts.again):
            return none
        return [found or lack for found, lack in zip(verdicts.again[repeat], none, strict=True)]


def _named(notice: Notice, where: str, text: str) -> None:
    notice(f"{where}: {text}")


async def _together(
    calls: Sequence[tuple[Reward, Mapping[str, Any]]], ids: Sequence[str]
) -> list[list[RewardScore]]:
    tasks = [asyncio.ensure_future(reward.scores_async(batch, ids)) for reward, batch in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:  # one failed: the step has, and the others need not go on
        for task in tasks:
            task.cancel()


def _after_condition(
    reward: AnyReward, cells: Mapping[str, list[list[Cell]]]
) -> Sequence[Sequence[Cell]]:
    condition = reward.condition
    if condition is None:
        return cells[reward.name]
    on = cells[condition.reward][0]
    return [conditioned(column, on, condition.at_least) for column in cells[reward.name]]
