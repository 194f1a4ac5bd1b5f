"""The training loop."""

from __future__ import annotations

from rvpo.advantage import AdvantageEstimator
from rvpo.data.prompts import PromptStream
from rvpo.report.record import Report, StepRecord
from rvpo.rewards.suite import RewardSuite
from rvpo.rollout.engine import RolloutEngine
from rvpo.trainer.checkpoint import Checkpoints
from rvpo.trainer.clock import Clock
from rvpo.trainer.interrupt import Interrupt
from rvpo.trainer.metrics import step_metrics
from rvpo.trainer.policy import Policy
from rvpo.trainer.ranks import Ranks
from rvpo.trainer.seed import derived_seed


def train(
    prompts: PromptStream,
    engine: RolloutEngine,
    score: RewardSuite,
    estimate: AdvantageEstimator,
    policy: Policy,
    report: Report,
    checkpoints: Checkpoints,
    interrupt: Interrupt,
    ranks: Ranks,
    *,
    group_size: int,
    seed: int,
    steps: range,
) -> None:
    """Each pass is one optimizer update on samples from the newest policy.

    Every rank generates and trains on its share of the prompts; the estimator sees the reward
    matrix of all ranks. Judges get to work on a sample while others are generated. Of `steps`,
    `start` are done already and `stop` is the end of the run.

    Raises:
        RvpoError: of whichever part failed; the newest checkpoint stays usable.
        KeyboardInterrupt: a stop was asked for; the step was finished and saved first.
    """
    engine.load_weights(policy.named_weights(), version=steps.start)
    for step in steps:
        clock = Clock()
        progress = step / max(1, steps.stop - 1)
        batch = prompts.at(step)  # P prompts

        scoring = score.begin(progress)
        rollout = engine.generate(
            batch[ranks.share(len(batch))],
            group_size,
            derived_seed(seed, step, ranks.rank),
            on_sample=scoring.take,
        )  # N / ranks samples
        clock.lap("generate")

        rewards = scoring.collect(rollout, ranks)  # [N, M]
        advantages = estimate(rewards, progress)  # [N]
        clock.lap("score")

        update = policy.update(rollout, ranks.shard(advantages))
        clock.lap("update")

        engine.load_weights(policy.named_weights(), version=step + 1)
        clock.lap("sync")

        report(
            StepRecord(
                step=step + 1,
                rollout=rollout,
                rewards=rewards,
                advantages=advantages,
                first_row=ranks.share(len(rewards.values)).start,
                metrics=step_metrics(step, rollout, rewards, advantages, ranks)
                | update
                | clock.metrics(),
            )
        )
        stop = interrupt.requested()
        checkpoints.after(step + 1, policy, last=stop or step + 1 == steps.stop)
        if stop:
            raise KeyboardInterrupt
