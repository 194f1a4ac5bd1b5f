"""The training loop."""

from __future__ import annotations

from collections.abc import Callable

from rvpo.advantage import AdvantageEstimator
from rvpo.report.record import Report, StepRecord
from rvpo.runtime.ranks import Ranks
from rvpo.schedule import progress_at
from rvpo.trainer.clock import Clock
from rvpo.trainer.endings import Endings
from rvpo.trainer.keep import Keep
from rvpo.trainer.metrics import step_metrics
from rvpo.trainer.policy import Policy
from rvpo.trainer.refill import Refill
from rvpo.trainer.stream import RolloutStream
from rvpo.types import RolloutScores


def train(
    steps: range,
    *,
    stream: RolloutStream,
    refill: Refill,
    weigh: Callable[[RolloutScores], RolloutScores],
    estimate: AdvantageEstimator,
    policy: Policy,
    report: Report,
    keep: Keep,
    evaluate: Callable[[int], dict[str, float]],
    ending: Endings,
    ranks: Ranks,
) -> int:
    """Train on one rollout of the stream after the other; the steps done in the end.

    Every rank generates its share of the prompts, judges get to work on a sample while others are
    generated, and the estimator sees the matrix of all ranks. `refill` gives other prompts the
    places of those that teach nothing, `weigh` adds what earlier steps told of scores. `evaluate`
    gives scores on other prompts where it is time for them. Of `steps`, `start` are done already.

    Raises:
        RvpoError: of whichever part failed; the newest checkpoint stays usable.
        KeyboardInterrupt: a stop was asked for; the step was finished and saved first.
    """
    stream.refresh(policy.weights(), version=steps.start)
    for step in steps:
        clock = Clock(step + 1, ranks.doing)
        clock.begin("generate")
        rollout, scoring = stream.take(step)

        clock.begin("score")
        rollout, scored = refill(step, rollout, scoring)  # N / ranks samples, [N, M]
        scored = weigh(scored)
        advantages = estimate(scored.rewards, progress_at(step, steps))  # [N]

        clock.begin("update")
        update = policy.update(rollout, ranks.shard(advantages))
        clock.begin("sync")
        stream.refresh(policy.weights(), version=step + 1)

        clock.begin("report")
        scores = evaluate(step + 1)
        metrics = step_metrics(step, rollout, scored, advantages, ranks) | update
        metrics |= {"epoch": stream.epochs(step + 1)} | clock.metrics() | scores
        report(
            StepRecord(
                step=step + 1,
                rollout=rollout,
                scored=scored,
                advantages=advantages,
                first_row=ranks.share(len(advantages.values)).start,
                metrics=metrics,
            )
        )
        end = ending(step + 1, scored.metrics)
        keep(step + 1, policy, scores, last=end is not None)
        if end is not None:
            return end.conclude(step + 1)
    return steps.start
