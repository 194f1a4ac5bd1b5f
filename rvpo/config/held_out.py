"""The settings of evaluation during training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

from pydantic import Field, model_validator

from rvpo.config.benchmarks import BenchmarksConfig
from rvpo.config.early_stop import EarlyStopConfig
from rvpo.config.gold import GoldConfig
from rvpo.fields import (
    AnswerCounts,
    Float,
    ImportPath,
    NonNegativeInt,
    PositiveInt,
    SamplingSection,
    TemperatureOrZero,
)
from rvpo.sampling import Sampling


class EvaluateConfig(SamplingSection):
    prompts: PositiveInt | None = None
    """Held-out prompts to score; all of them if left out."""
    samples_per_prompt: PositiveInt = 4
    """Completions of each held-out prompt, whose scores are averaged; 1 if left out beside
    temperature 0."""
    at_k: AnswerCounts = ()
    """Numbers of answers, k, such as [1, 4]: chances that one of k is good (pass@k), that the one
    which most of them give is (maj@k), and that one satisfies all rewards (all_satisfied@k), from
    all samples of a prompt. None are given if left out."""
    satisfied: dict[str, Float] = Field(default_factory=dict)
    """Score from which on an answer is good, by criterion as in `judged/polite`, or by reward. Left
    out: what the reward says in `rewards.NAME.satisfied`, and 1 where it says nothing."""
    answer: ImportPath | None = None
    """Function that gives the text of a completion's answer to what it answers, by which maj@k
    counts votes: a text, or None. Left out: what stands in the last \\boxed{} or <answer>, behind
    #### or on a line such as "Answer: 12", and else all of it."""
    early_stop: EarlyStopConfig | None = None
    """Rule that ends the run by a metric of evaluation; it goes on to its last step if left
    out."""
    temperature: TemperatureOrZero | None = None
    """Temperature of their sampling; 0 takes the likeliest token each time. Like all that is said
    of sampling here, it takes the place of what `rollout` says."""
    every: NonNegativeInt = 0
    """Steps between evaluations during training; 0 evaluates before and after it only."""
    judge: str | None = None
    """Name of the judge of held-out prompts, in place of those that rewards name. Benchmarks name
    their own."""
    gold: GoldConfig | None = None
    """A better judge to watch the one that trains, on the same held-out answers."""
    benchmarks: BenchmarksConfig = BenchmarksConfig()
    """Benchmarks to evaluate on at the same steps, with the same engine."""

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, data: Any) -> Any:
        # Samples that are all the same would be scored, and paid for, several times.
        if not isinstance(data, dict):
            return data
        if isinstance(data.get("stop"), dict):
            raise ValueError(
                "stop: this is for texts that end a completion; the rule that ends the run is "
                "early_stop"
            )
        return ({"samples_per_prompt": 1} if data.get("temperature") == 0 else {}) | data

    @model_validator(mode="after")
    def _has_enough_samples(self) -> Self:
        most = max(self.at_k, default=1)
        if most > 1 and self.temperature == 0:
            raise ValueError(
                f"at_k: with temperature=0 all answers to a prompt are the same, and {most} are no "
                "better than one; give a temperature above 0, or leave at_k out"
            )
        if most > self.samples_per_prompt:
            raise ValueError(
                f"at_k: {most} answers cannot be taken from samples_per_prompt="
                f"{self.samples_per_prompt}; make that at least {most}, and better twice as many"
            )
        return self

    def sampling(self, usual: Sampling) -> Sampling | None:
        """Way in which answers to held-out prompts are drawn; None for the usual one.

        Args:
            usual: the way of training.
        """
        drawn = self.sampling_over(usual)
        if self.temperature is not None:
            drawn = replace(drawn, temperature=self.temperature)
        return None if drawn == usual else drawn

    @property
    def others(self) -> tuple[str, ...]:
        """Names of judges that are asked what rewards ask, in place of those that these name."""
        gold = None if self.gold is None else self.gold.judge
        return tuple(name for name in (self.judge, gold) if name is not None)
