"""The settings of evaluation during training."""

from __future__ import annotations

from rvpo.config.benchmarks import BenchmarksConfig
from rvpo.config.gold import GoldConfig
from rvpo.fields import NonNegativeInt, PositiveInt, Section


class EvaluateConfig(Section):
    prompts: PositiveInt | None = None
    """Held-out prompts to score; all of them if left out."""
    samples_per_prompt: PositiveInt = 4
    """Completions of each held-out prompt, whose scores are averaged."""
    every: NonNegativeInt = 0
    """Steps between evaluations during training; 0 evaluates before and after it only."""
    judge: str | None = None
    """Name of the judge of held-out prompts, in place of those that rewards name. Benchmarks name
    their own."""
    gold: GoldConfig | None = None
    """A better judge to watch the one that trains, on the same held-out answers."""
    benchmarks: BenchmarksConfig = BenchmarksConfig()
    """Benchmarks to evaluate on at the same steps, with the same engine."""

    @property
    def others(self) -> tuple[str, ...]:
        """Names of judges that are asked what rewards ask, in place of those that these name."""
        gold = None if self.gold is None else self.gold.judge
        return tuple(name for name in (self.judge, gold) if name is not None)
