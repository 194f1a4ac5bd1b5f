"""The end of a run: its last step, or what ends it before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rvpo.errors import SpentError
from rvpo.runtime.interrupt import Interrupt
from rvpo.trainer.dollars import Dollars
from rvpo.trainer.early_stop import EarlyStop
from rvpo.trainer.evaluation import Evaluation
from rvpo.trainer.gold_stop import GoldStop


@dataclass(frozen=True, slots=True)
class EndRules:
    """The rules of the settings that may end a run before its last step.

    Args:
        gold: the gold watch's.
        early: the one of a metric of evaluation.
    """

    gold: GoldStop
    early: EarlyStop

    def __call__(self, step: int) -> bool:
        """True where any rule ends the run after so many updates. Every rank must call."""
        return any([self.gold(step), self.early(step)])

    def check(self, scores: Mapping[str, float], lost: Mapping[str, str]) -> None:
        """Refuse rules that would end every run, or none. Every rank must call, once there are the
        scores before training.

        Args:
            scores: these.
            lost: metrics that they lack because a judge or a world failed, with words for that.
        """
        self.gold.check()
        self.early.check(scores, lost)


@dataclass(frozen=True, slots=True)
class End:
    """A run goes no further. What it has done is saved first."""

    error: BaseException | None = None
    """Raised once it is; None for a run that is finished."""

    def conclude(self, step: int) -> int:
        """The number of steps done; raises what ended the run before its end."""
        if self.error is not None:
            raise self.error
        return step


class Endings:
    """Looks after each step if the run goes on.

    Args:
        last_step: number of its last step.
        interrupt: somebody asked for a stop.
        rules: those of the settings.
        dollars: the budgets of the judges.
    """

    def __init__(
        self, last_step: int, interrupt: Interrupt, rules: EndRules, dollars: Dollars
    ) -> None:
        self._last_step = last_step
        self._interrupt = interrupt
        self._rules = rules
        self._dollars = dollars
        self._unpaid: str | None = None

    def paying(self, evaluate: Evaluation) -> Callable[[int], dict[str, float]]:
        """The evaluation, which gives no scores where a judge may cost no more, and ends the run
        after its step: the next start asks for them."""

        def scores(step: int) -> dict[str, float]:
            try:
                return evaluate(step)
            except SpentError as error:
                self._unpaid = str(error)
                return {}

        return scores

    def __call__(self, step: int, metrics: Mapping[str, float]) -> End | None:
        """The end, where so many updates are all; on every rank alike. Every rank must call.

        Args:
            metrics: those of judging in the last step.
        """
        if self._interrupt.requested():
            return End(KeyboardInterrupt())
        if self._unpaid is not None:
            return End(SpentError(self._unpaid))
        if step == self._last_step or self._rules(step):
            return End()
        over = self._dollars.over(step, metrics)
        return None if over is None else End(SpentError(over))
