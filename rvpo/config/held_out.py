"""The settings of evaluation during training."""

from __future__ import annotations

from dataclasses import replace

from rvpo.config.benchmarks import BenchmarksConfig
from rvpo.config.gold import GoldConfig
from rvpo.fields import NonNegativeInt, PositiveInt, SamplingSection, TemperatureOrZero
from rvpo.types import Sampling


class EvaluateConfig(SamplingSection):
    prompts: PositiveInt | None = None
    """Held-out prompts to score; all of them if left out."""
    samples_per_prompt: PositiveInt = 4
    """Completions of each held-out prompt, whose scores are averaged."""
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
