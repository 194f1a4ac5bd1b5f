"""The metrics of judging in a step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rvpo.rewards.duels import Duels
from rvpo.rewards.judging import Verdicts
from rvpo.rewards.tally import Tally


def _tallies(parts: Iterable[Verdicts]) -> dict[str, Tally]:
    """Counts of answers, by reward."""
    found: dict[str, Tally] = {}
    for part in parts:
        for name, tally in part.tallies.items():
            found[name] = found.get(name, Tally()) + tally
    return found


def every_tally(by_judge: Iterable[Sequence[Verdicts]]) -> Tally:
    """Counts of all answers."""
    tallies = _tallies(part for of_ranks in by_judge for part in of_ranks)
    return sum(tallies.values(), Tally())


def judge_metrics(by_judge: Mapping[str, Sequence[Verdicts]]) -> dict[str, float]:
    """`judge/{reward}/…` for each judged reward, `judges/{judge}/…` for each of several judges and
    `judge/…` for all.

    Args:
        by_judge: verdicts of each judge, those of each rank.
    """
    if not by_judge:
        return {}
    metrics = every_tally(by_judge.values()).metrics("judge")
    every = [part for of_ranks in by_judge.values() for part in of_ranks]
    for name, tally in _tallies(every).items():
        metrics |= tally.metrics(f"judge/{name}")
    duels: dict[str, Duels] = {}
    for name, counts in (item for part in every for item in part.duels.items()):
        duels[name] = duels.get(name, Duels()) + counts
    for name, counts in duels.items():
        metrics |= counts.metrics(f"judge/{name}")
    if len(by_judge) > 1:
        for name, of_ranks in by_judge.items():
            metrics |= every_tally([of_ranks]).metrics(f"judges/{name}")
    return metrics


def waiting_metrics(by_judge: Mapping[str, Sequence[Verdicts]]) -> dict[str, float]:
    """Seconds that the slowest rank waited.

    Args:
        by_judge: verdicts of each judge, one of each rank.
    """
    by_rank = zip(*by_judge.values(), strict=True)
    waited = [sum(part.waited_s for part in parts) for parts in by_rank]
    return {"judge/wait_exposed_s": max(waited)} if waited else {}
