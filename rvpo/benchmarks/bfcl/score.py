"""The scores of BFCL's leaderboard, out of the accuracies of its categories.

V3 and V4 are not comparable: they differ in rows, and V4 takes (ir)relevance out of `live` and
`non_live` and weighs the parts of `overall`. So a result names its version.

Both versions, where `mean` weighs all parts alike and `pooled` weighs them by their rows:

    simple          mean(simple_python, simple_java, simple_javascript)
    non_live_ast    mean(simple, multiple, parallel, parallel_multiple)
    live_ast        pooled(live_simple, live_multiple, live_parallel, live_parallel_multiple)
    all_irrelevance mean(irrelevance, live_irrelevance)
    relevance       live_relevance
    multi_turn      mean(multi_turn_base, _miss_func, _miss_param, _long_context)

V3 (`eval_checker/eval_runner_helper.py` of bfcl-eval 2025.7.9):

    non_live        mean(simple, multiple, parallel, parallel_multiple, irrelevance)
    live            pooled(the parts of live_ast, live_irrelevance, live_relevance)
    single_turn     mean(live, non_live), which it computes but does not show
    overall         mean(live, non_live, multi_turn)

V4 (2026.3.23):

    non_live        non_live_ast
    live            live_ast
    web_search      mean(web_search_base, web_search_no_snippet)
    memory          mean(memory_kv, memory_vector, memory_rec_sum)
    agentic         mean(web_search, memory)
    overall         0.1 (non_live + live + all_irrelevance) + 0.3 multi_turn + 0.4 agentic

The original takes a category that was not run for 0; here whatever needs it has no value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from rvpo.benchmarks.bfcl.distribution import Version
from rvpo.errors import ConfigError

_MULTI_TURN = tuple(f"multi_turn_{n}" for n in ("base", "miss_func", "miss_param", "long_context"))
_SINGLE_TURN_SIZES = {
    "simple_python": 400,
    "simple_java": 100,
    "simple_javascript": 50,
    "multiple": 200,
    "parallel": 200,
    "parallel_multiple": 200,
    "irrelevance": 240,
    "live_simple": 258,
    "live_multiple": 1053,
    "live_parallel": 16,
    "live_parallel_multiple": 24,
}
_SIZES_BEYOND = dict.fromkeys(_MULTI_TURN, 200)
_AGENTIC_SIZES = {
    **dict.fromkeys(("web_search_base", "web_search_no_snippet"), 100),
    **dict.fromkeys(("memory_kv", "memory_vector", "memory_rec_sum"), 155),
}
SIZES: Mapping[Version, Mapping[str, int]] = {
    "v3": {
        **_SINGLE_TURN_SIZES,
        "live_irrelevance": 882,
        "live_relevance": 18,
        **_SIZES_BEYOND,
    },
    "v4": {
        **_SINGLE_TURN_SIZES,
        "live_irrelevance": 884,
        "live_relevance": 16,
        **_SIZES_BEYOND,
        **_AGENTIC_SIZES,
    },
}
"""Rows of every category."""


@dataclass(frozen=True, slots=True)
class CategoryTally:
    """The answers to one category."""

    right: float
    """Rows with a right answer; of several to a row the share of right ones."""
    rows: int


@dataclass(frozen=True, slots=True)
class OfficialScore:
    """An accuracy in [0, 1]."""

    value: float | None
    missing: tuple[str, ...] = ()
    """Reasons that there is no value: parts that were not run, or not on all rows."""
    rows: int = 0
    """Number of rows behind the value."""


@dataclass(frozen=True, slots=True)
class _Mean:
    """Mean of categories and other scores, all alike unless weights are given or rows are
    counted."""

    parts: tuple[str, ...]
    weights: tuple[float, ...] | None = None
    is_pooled: bool = False


_LIVE_AST = ("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple")
_NON_LIVE_AST = ("simple", "multiple", "parallel", "parallel_multiple")
_COMMON = {
    "simple": _Mean(("simple_python", "simple_java", "simple_javascript")),
    "non_live_ast": _Mean(_NON_LIVE_AST),
    "live_ast": _Mean(_LIVE_AST, is_pooled=True),
    "all_irrelevance": _Mean(("irrelevance", "live_irrelevance")),
    "relevance": _Mean(("live_relevance",)),
    "multi_turn": _Mean(_MULTI_TURN),
}
_DEFINITIONS: Mapping[Version, Mapping[str, _Mean]] = {
    "v3": {
        **_COMMON,
        "non_live": _Mean((*_NON_LIVE_AST, "irrelevance")),
        "live": _Mean((*_LIVE_AST, "live_irrelevance", "live_relevance"), is_pooled=True),
        "single_turn": _Mean(("live", "non_live")),
        "overall": _Mean(("live", "non_live", "multi_turn")),
    },
    "v4": {
        **_COMMON,
        "non_live": _Mean(_NON_LIVE_AST),
        "live": _Mean(_LIVE_AST, is_pooled=True),
        "web_search": _Mean(("web_search_base", "web_search_no_snippet")),
        "memory": _Mean(("memory_kv", "memory_vector", "memory_rec_sum")),
        "agentic": _Mean(("web_search", "memory")),
        "overall": _Mean(
            ("non_live", "live", "all_irrelevance", "multi_turn", "agentic"), (10, 10, 10, 30, 40)
        ),
    },
}


def scores(version: Version, tallies: Mapping[str, CategoryTally]) -> dict[str, OfficialScore]:
    """Every score of a version, by the names above.

    Args:
        version: BFCL's.
        tallies: one a category. Those that are left out, or hold fewer rows than the category has,
            leave the scores that need them without a value.

    Raises:
        ConfigError: there is no such version or category, or a tally that cannot be.
    """
    if version not in get_args(Version):
        raise ConfigError(f"BFCL has no version {version!r}; choose from v3, v4")
    sizes = SIZES[version]
    for category, tally in tallies.items():
        if category not in sizes:
            raise ConfigError(
                f"{category!r} is no category of BFCL {version}; choose from {', '.join(sizes)}"
            )
        if not 0 <= tally.right <= tally.rows <= sizes[category]:
            raise ConfigError(
                f"{category}: {tally.right:g} of {tally.rows} rows are right, but it has "
                f"{sizes[category]} rows; give at most as many, and no more right ones"
            )
    known = {
        category: _accuracy(category, size, tallies.get(category))
        for category, size in sizes.items()
    }
    names = _DEFINITIONS[version]
    for name, mean in names.items():
        known[name] = _mean(mean, [known[part] for part in mean.parts], sizes)
    return {name: known[name] for name in names}


def _accuracy(category: str, size: int, tally: CategoryTally | None) -> OfficialScore:
    if tally is None:
        return OfficialScore(None, (f"{category} was not run",))
    if tally.rows < size:
        return OfficialScore(None, (f"{category} was run on {tally.rows} of {size} rows",))
    return OfficialScore(tally.right / tally.rows, rows=tally.rows)


def _mean(mean: _Mean, parts: Sequence[OfficialScore], sizes: Mapping[str, int]) -> OfficialScore:
    missing = dict.fromkeys(reason for part in parts for reason in part.missing)
    values = [part.value for part in parts if part.value is not None]
    if missing:
        return OfficialScore(None, tuple(missing))
    weights: Sequence[float] = mean.weights or [1] * len(values)
    if mean.is_pooled:
        weights = [sizes[part] for part in mean.parts]
    total = sum(value * weight for value, weight in zip(values, weights, strict=True))
    return OfficialScore(total / sum(weights), rows=sum(part.rows for part in parts))
