"""The budgets of verdicts that a judge, and of episodes that a world, may lose in a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rvpo.config.judge import BudgetConfig
from rvpo.config.judges import OWN
from rvpo.errors import RewardError, SpentError
from rvpo.judge.spending import SPENT
from rvpo.rewards.advice import advice, cache_remedy
from rvpo.rewards.judging import NOT_ASKED
from rvpo.types import RolloutScores


def keep_within(
    budget: BudgetConfig,
    scored: RolloutScores,
    asked: Sequence[int],
    failed: Sequence[int],
    failures: Counter[str],
    details: Mapping[str, str],
    where: str = OWN,
) -> RolloutScores:
    """The scores without the groups that lost too many verdicts.

    Every score of such a group becomes a failed one, those of functions too, so that nothing is
    trained on its samples.

    Args:
        scored: scores of all ranks.
        asked: [N] verdicts that training needs.
        failed: [N] those of them that it cannot use.
        failures: their reasons.
        details: the server's words, by reason.
        where: the section of the judge that they are from.

    Raises:
        SpentError: verdicts were not asked because the judge has cost what it may.
        RewardError: the step as a whole lost more than the budget allows.
    """
    if unasked := failures[SPENT]:
        raise SpentError(
            f"{where}.budget.dollars: ${budget.dollars or 0:g} are spent, and {unasked:,} of the "
            f"{sum(asked):,} verdicts of this step or evaluation were not asked. It is left for "
            "later, and all steps before it are saved: raise the budget, and go on with --resume "
            f"{where}.budget.dollars=NUMBER"
        )
    if _exceeds(sum(failed), budget.step, sum(asked)):
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in failures.most_common(5))
        raise RewardError(
            f"{where}: {sum(failed):,} of the {sum(asked):,} verdicts of this step are missing "
            f"({reasons}), more than {where}.budget.step={budget.step:g} allows; nothing was "
            f"trained on them. {_remedy(failures, details, where)}, then continue with --resume"
        )
    if not any(asked):
        return scored
    size = scored.rewards.group_size
    valid, why = scored.rewards.valid.clone(), dict(scored.failures)
    skipped = 0
    for start in range(0, len(valid), size):
        rows = range(start, start + size)
        lost, needed = sum(failed[row] for row in rows), sum(asked[row] for row in rows)
        if not _exceeds(lost, budget.group, needed):
            continue
        skipped += 1
        reason = f"the group was left out: {lost} of its {needed} verdicts are missing"
        why |= {(start + r, c): reason for r, c in valid[start : start + size].nonzero().tolist()}
        valid[start : start + size] = False
    rewards = replace(scored.rewards, valid=valid)
    skipped += int(scored.metrics.get("judge/skipped_groups", 0))
    metrics = {**scored.metrics, "judge/skipped_groups": float(skipped)}
    return replace(scored, rewards=rewards, failures=why, metrics=metrics)


def check_episodes(budget: float, missing: Sequence[str]) -> None:
    """Refuse to go on with the episodes of a step or of an evaluation.

    Args:
        budget: share of them that may have no score.
        missing: reason of each for that, empty where it has one.

    Raises:
        RewardError: more have none.
    """
    reasons = Counter(filter(None, missing))
    if not _exceeds(reasons.total(), budget, len(missing)):
        return
    told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common(3))
    raise RewardError(
        f"environment: {reasons.total():,} of {len(missing):,} episodes have no score ({told}), "
        f"more than environment.budget={budget:g} allows; nothing was trained on them. Mend the "
        "environment, then continue with --resume"
    )


def _remedy(failures: Counter[str], details: Mapping[str, str], where: str) -> str:
    known = advice(failures, details, where)
    causes = [reason for reason in failures if reason != NOT_ASKED.failure]
    is_cache = bool(causes) and all(map(cache_remedy, causes))
    mend = "Mend the cache" if is_cache else "Mend the judge"
    return f"{mend} ({' | '.join(known)})" if known else mend


def _exceeds(lost: int, share: float, needed: int) -> bool:
    # Rounded, so that 29 of 100 do not exceed a share of 0.29.
    return lost > round(share * needed, 6)
