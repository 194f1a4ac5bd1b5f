"""Responses to judge, and the rewards that judge them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from rvpo.config.judge import JudgeConfig
from rvpo.errors import ConfigError
from rvpo.judge.types import Answer, Job, Judge
from rvpo.rewards.judged import every_question
from rvpo.rewards.rubric import RubricReward
from rvpo.thinking import Sees
from rvpo.trial.judgement import Judgement
from rvpo.trial.response import Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Responses to judge, and the rewards that judge them."""

    rewards: tuple[RubricReward, ...]
    responses: tuple[Response, ...]
    repeats: int
    """Times that each question is asked."""
    alone: bool = False
    """Each criterion has a call of its own, whatever its judge's settings say."""

    @property
    def by_judge(self) -> dict[str, list[RubricReward]]:
        """The rewards that each judge gives, by its name."""
        names = dict.fromkeys(reward.judge for reward in self.rewards)
        return {name: [r for r in self.rewards if r.judge == name] for name in names}

    @property
    def asked_together(self) -> dict[tuple[str, Sees], list[RubricReward]]:
        """The rewards of a judge that are shown the same part of a response."""
        keys = dict.fromkeys((reward.judge, reward.sees) for reward in self.rewards)
        return {key: [r for r in self.rewards if (r.judge, r.sees) == key] for key in keys}

    @property
    def verdicts(self) -> int:
        """Questions to ask, repeats included."""
        asked = (
            len(every_question(rewards, response.prompt))
            for rewards in self.asked_together.values()
            for response in self.responses
        )
        return self.repeats * sum(asked)

    def asking(self, judge: str) -> Trial:
        """The same responses, with everything to be asked of this judge."""
        return replace(self, rewards=tuple(reward.asking(judge) for reward in self.rewards))

    def held_against(self, judge: str) -> Trial:
        """The same responses, with what other judges give to be asked of this one.

        Raises:
            ConfigError: it gives everything already.
        """
        others = tuple(reward.asking(judge) for reward in self.rewards if reward.judge != judge)
        if not others:
            raise ConfigError(
                f"--against {judge}: every reward asks it already; name another judge, or the one "
                "that is tried with --judge"
            )
        return replace(self, rewards=others)

    def each_alone(self, judges: Mapping[str, JudgeConfig]) -> Trial | None:
        """The same responses, with each criterion that may share a call to be asked alone; None
        where there is none.

        Args:
            judges: settings of those that the rewards ask.
        """
        shared = tuple(
            reward
            for reward in self.rewards
            if judges[reward.judge].criteria_per_call != 1 and reward.form != "implicit"
        )
        return replace(self, rewards=shared, alone=True) if shared else None

    def judged_by(self, judges: Mapping[str, Judge]) -> Iterator[Judgement]:
        """Ask everything at once; each judgement follows, in order, when it is complete.

        Args:
            judges: those that the rewards ask, by name.

        Raises:
            RewardError: the judge's worker cannot be reached.
        """
        asked = [
            [
                self._ask(judges[name], rewards, response, sees)
                for (name, sees), rewards in self.asked_together.items()
            ]
            for response in self.responses
        ]
        for response, every in zip(self.responses, asked, strict=True):
            parts = []
            for rewards, futures in zip(self.asked_together.values(), every, strict=True):
                wanted = every_question(rewards, response.prompt)
                answers = [dict(zip(wanted, future.result(), strict=True)) for future in futures]
                parts.append(Judgement.of(response, rewards, answers))
            yield Judgement.joined(parts)

    def _ask(
        self, judge: Judge, rewards: Sequence[RubricReward], response: Response, sees: Sees
    ) -> list[Future[tuple[Answer, ...]]]:
        """[R] the answers of each repeat, on their way."""
        wanted = every_question(rewards, response.prompt)
        jobs = [
            Job(
                conversation=response.prompt.turns,
                response=response.seen(sees),
                questions=wanted,
                repeat=repeat,
                alone=self.alone,
            )
            for repeat in range(self.repeats)
        ]
        return [judge.submit(job) for job in jobs]
