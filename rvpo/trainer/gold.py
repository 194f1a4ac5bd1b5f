"""The gold watch: a better judge beside the one that trains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rvpo.report.gold import GoldScores
from rvpo.report.run_folder import RunFolder
from rvpo.rewards.comparison import Opponent
from rvpo.rewards.scoring import Scoring
from rvpo.rewards.suite import RewardSuite
from rvpo.runtime.ranks import Ranks
from rvpo.types import Rollout, Sample


@dataclass(frozen=True)
class GoldWatch:
    """Has the answers of an evaluation judged by both.

    Args:
        training: the rewards that are watched, each verdict for itself; see `watched_by`.
        judge: name of the gold judge.
        every: steps between two looks, 0 for every evaluation.
        say: told of verdicts that are missing.
    """

    training: RewardSuite
    judge: str
    every: int
    folder: RunFolder
    ranks: Ranks
    say: Callable[[str], None]

    def look(self, opponent: Opponent | None = None) -> GoldLook:
        """Begin to look at a rollout.

        Args:
            opponent: see `RewardSuite.begin`.
        """
        training, gold = (
            suite.begin(opponent=opponent)
            for suite in (self.training, self.training.asking(self.judge))
        )
        return GoldLook(self.judge, training, gold, self.ranks, self.say)

    def knows(self, step: int) -> bool:
        """True where the scores after `step` updates are kept."""
        return self.folder.gold_scores(step).exists()

    def at(self, step: int) -> GoldScores:
        """The scores after `step` updates.

        Raises:
            CheckpointError: their file is damaged.
        """
        return GoldScores.read(self.folder.gold_scores(step))


@dataclass(frozen=True)
class GoldLook:
    """The answers of one evaluation, on their way to both judges."""

    judge: str
    training: Scoring
    gold: Scoring
    ranks: Ranks
    say: Callable[[str], None]

    def take(self, row: int, sample: Sample) -> None:
        """Ask both about a sample, given its row in the rollout; returns at once."""
        self.training.take(row, sample)
        self.gold.take(row, sample)

    def collect(self, rollout: Rollout, prompt_ids: Sequence[str]) -> GoldScores:
        """Wait for what both have to say. Every rank must call.

        Args:
            rollout: this rank's samples.
            prompt_ids: [P] those of all ranks.
        """
        training = self.training.collect(rollout, self.ranks)
        gold = self.gold.collect(rollout, self.ranks)
        if gold.failures:
            every = len(gold.failures) + int(gold.rewards.valid.sum())
            reasons = Counter(gold.failures.values()).most_common(3)
            said = ", ".join(f"{count:,} {reason}" for reason, count in reasons)
            self.say(
                f"evaluate.gold: {len(gold.failures):,} of {every:,} verdicts of judge "
                f"'{self.judge}' are missing ({said}); no gap counts them"
            )
        return GoldScores.of(training, gold, prompt_ids, self.judge)


def each_of(*takes: Callable[[int, Sample], None]) -> Callable[[int, Sample], None]:
    """A listener that passes each sample on to all of these."""

    def take(row: int, sample: Sample) -> None:
        for each in takes:
            each(row, sample)

    return take
