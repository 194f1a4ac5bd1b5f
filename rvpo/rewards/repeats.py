"""Verdicts that are asked for again, to see how far they agree with themselves."""

from __future__ import annotations

from dataclasses import dataclass

from rvpo.judge.types import Answer
from rvpo.runtime.seed import derived_seed
from rvpo.types import Prompt


@dataclass(frozen=True, slots=True)
class Repeating:
    """Prompts whose verdicts are asked for several times.

    All samples of such a prompt are, by all of the judge's questions: what tells samples of a group
    apart in one set of verdicts can then be looked for in another. A prompt is chosen by its id and
    the seed alone, on any rank and by any judge alike.

    Args:
        times: verdicts on each question, the one that counts included.
        share: part of the prompts, in [0, 1].
        seed: one of the step.
    """

    times: int = 1
    share: float = 0.0
    seed: int = 0

    def of(self, prompt: Prompt) -> range:
        """Numbers of the repeats of a prompt's questions; 0 is the one that counts."""
        chosen = derived_seed(self.seed, "repeat", prompt.id) < self.share * 2**31
        return range(self.times if chosen else 1)


ONCE = Repeating()
"""Every verdict is asked for once."""

NOT_REPEATED = Answer(value=None, failure="not asked again")
