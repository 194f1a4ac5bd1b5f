"""The training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rvpo.advantage import AdvantageEstimator
from rvpo.errors import SpentError
from rvpo.report.record import Report, StepRecord
from rvpo.runtime.interrupt import Interrupt
from rvpo.runtime.ranks import Ranks
from rvpo.schedule import progress_at
from rvpo.trainer.clock import Clock
from rvpo.trainer.keep import Keep
from rvpo.trainer.metrics import step_metrics
from rvpo.trainer.policy import Policy
from rvpo.trainer.stream import RolloutStream
from rvpo.types import RolloutScores


def train(
    steps: range,
    *,
    stream: RolloutStream,
    weigh: Callable[[RolloutScores], RolloutScores],
    estimate: AdvantageEstimator,
    policy: Policy,
    report: Report,
    keep: Keep,
    evaluate: Callable[[int], dict[str, float]],
    interrupt: Interrupt,
    ends: Callable[[int], bool],
    spent: Callable[[int, Mapping[str, float]], str | None],
    ranks: Ranks,
) -> int:
    """Each pass trains on one rollout of the stream.

    Every rank generates its share of the prompts; the estimator sees the reward matrix of all
    ranks. Judges get to work on a sample while others are generated. `weigh` adds to scores what
    earlier steps have told of them. `evaluate` is asked after each step for scores on other
    prompts, and gives none where it is not time for them; `keep` saves what is due; `spent` hears
    what the judging of each step took, and has a sentence where another cannot be paid for. Of
    `steps`, `start` are done already and `stop` is the end of the run, which `ends` may end before:
    it is asked after each step.

    Returns:
        Steps done.

    Raises:
        RvpoError: of whichever part failed; the newest checkpoint stays usable.
        SpentError: a judge may cost no more; all steps done were saved first.
        KeyboardInterrupt: a stop was asked for; the step was finished and saved first.
    """
    stream.refresh(policy.weights(), version=steps.start)
    for step in steps:
        clock = Clock(step + 1, ranks.doing)
        progress = progress_at(step, steps)
        clock.begin("generate")
        rollout, scoring = stream.take(step)  # N / ranks samples

        clock.begin("score")
        try:
            scored = weigh(scoring.collect(rollout, ranks))  # [N, M]
        except SpentError:
            if step > steps.start:
                keep.save(step, policy)
            raise
        advantages = estimate(scored.rewards, progress)  # [N]

        clock.begin("update")
        update = policy.update(rollout, ranks.shard(advantages))
        clock.begin("sync")
        stream.refresh(policy.weights(), version=step + 1)

        clock.begin("report")
        scores, over = _evaluated(evaluate, step + 1)
        report(
            StepRecord(
                step=step + 1,
                rollout=rollout,
                scored=scored,
                advantages=advantages,
                first_row=ranks.share(len(advantages.values)).start,
                metrics=step_metrics(step, rollout, scored, advantages, ranks)
                | update
                | {"epoch": stream.epochs(step + 1)}
                | clock.metrics()
                | scores,
            )
        )
        stop, end = interrupt.requested(), step + 1 == steps.stop or ends(step + 1)
        over = over or (None if end else spent(step + 1, scored.metrics))
        keep(step + 1, policy, scores, last=stop or end or over is not None)
        if stop:
            raise KeyboardInterrupt
        if over is not None:
            raise SpentError(over)
        if end:
            return step + 1
    return steps.start


def _evaluated(
    evaluate: Callable[[int], dict[str, float]], step: int
) -> tuple[dict[str, float], str | None]:
    """The scores, or the sentence that they cannot be paid for: the next start asks for them."""
    try:
        return evaluate(step), None
    except SpentError as error:
        return {}, str(error)
