"""Benchmarks during training, on the engine that samples for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rvpo.benchmarks.benchmark import Benchmark
from rvpo.evaluate.measure import measure
from rvpo.evaluate.results import ResultFolder
from rvpo.report.run_folder import RunFolder
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import RolloutEngine
from rvpo.runtime.ranks import Ranks
from rvpo.runtime.seed import derived_seed
from rvpo.schedule import is_due


@dataclass(frozen=True)
class DuringTraining:
    """Runs every benchmark when it is time, with the engine's newest weights.

    Results are kept in the run folder, and made once. The seed is always the same, so that two
    evaluations differ by the weights alone where the engine honours seeds.

    Args:
        every: steps between evaluations.
        last_step: the run's; evaluated in any case, as step 0 is.
        seed: the run's.
        say: told what is going on.
        encoder: see `measure`.
    """

    benchmarks: Sequence[Benchmark]
    engine: RolloutEngine
    ranks: Ranks
    folder: RunFolder
    every: int
    last_step: int
    seed: int
    say: Callable[[str], None]
    encoder: Encoder | None = None

    def lacks(self, step: int) -> bool:
        """True where a benchmark should have a result after `step` updates, and has none. Every
        rank must call."""
        if not is_due(step, self.every, self.last_step):
            return False
        there = [self._results(each, step).summary.exists() for each in self.benchmarks]
        return not self.ranks.first(all(there))

    def __call__(self, step: int) -> dict[str, float]:
        """Evaluate if it is time; `eval/NAME/SCORE`, the same on every rank.

        Args:
            step: updates done.
        """
        if not is_due(step, self.every, self.last_step):
            return {}
        metrics: dict[str, float] = {}
        for benchmark in self.benchmarks:
            summary = measure(
                benchmark,
                self.engine,
                self._results(benchmark, step),
                self.ranks,
                weights={"step": step},
                seed=derived_seed(self.seed, "benchmark", benchmark.name),
                say=self.say,
                encoder=self.encoder,
            )
            found = summary.metrics.items()
            metrics |= {f"eval/{benchmark.name}/{name}": value for name, value in found}
        return metrics

    def _results(self, benchmark: Benchmark, step: int) -> ResultFolder:
        return ResultFolder(self.folder.benchmark(benchmark.name, step))
