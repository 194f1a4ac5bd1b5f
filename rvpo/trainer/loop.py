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
    """Each pass trains on one rollout of the stream.

    Every rank generates its share of the prompts; the estimator sees the reward matrix of all
    ranks. Judges get to work on a sample while others are generated. `refill` gives other prompts
    the places of those that teach nothing, and `weigh` adds to scores what earlier steps have told
    of them. `evaluate` is asked after each step for scores on other prompts, and gives none where
    it is not time for them; `ending` is asked if the run is over, and `keep` saves what is due. Of
    `steps`, `start` are done already and `stop` is the end of the run.

    Returns:
        Steps done.

    Raises:
        RvpoError: of whichever part failed; the newest checkpoint stays usable.
        SpentError: a judge may cost no more.
        KeyboardInterrupt: a stop was asked for; the step was finished and saved first.
    """
    stream.refresh(policy.weights(), version=steps.start)
    for step in steps:
        clock = Clock(step + 1, ranks.doing)
        progress = progress_at(step, steps)
        clock.begin("generate")
        rollout, scoring = stream.take(step)

        clock.begin("score")
        rollout, scored = refill(step, rollout, scoring)  # N / ranks samples, [N, M]
        scored = weigh(scored)
        advantages = estimate(scored.rewards, progress)  # [N]

        clock.begin("update")
        update = policy.update(rollout, ranks.shard(advantages))
        clock.begin("sync")
        stream.refresh(policy.weights(), version=step + 1)

        clock.begin("report")
        scores = evaluate(step + 1)
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
        end = ending(step + 1, scored.metrics)
        keep(step + 1, policy, scores, last=end is not None)
        if end is not None:
            return end.conclude(step + 1)
    return steps.start
