"""The numbers of episodes: their turns, their ends, and calls under TRL's names."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.episode import Ending
from rvpo.report.metrics import entry_of
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.metrics import completion_metrics
from rvpo.types import Rollout, Sample
from tests.fakes import make_episode, make_sample, on_each_rank


def metrics(*samples: Sample) -> dict[str, float]:
    return completion_metrics(0, Rollout(samples=samples, group_size=1), Ranks.alone())


def test_turns_and_lengths_are_those_of_the_policy() -> None:
    found = metrics(make_episode("aa", "x" * 50, "bbb"), make_episode("c"))
    assert found["episodes/turns_mean"] == 1.5
    assert found["episodes/turns_max"] == 2
    assert found["episodes/world_mean_length"] == 25
    assert found["completions/mean_length"] == 3
    assert found["completions/max_length"] == 5


@given(st.lists(st.sampled_from(get_args(Ending)), min_size=1, max_size=8))
@settings(deadline=None)
def test_every_end_has_its_share_and_together_they_are_all(endings: list[Ending]) -> None:
    found = metrics(*(make_episode("a", ending=ending) for ending in endings))
    for ending in get_args(Ending):
        share = found[f"episodes/ended/{ending}"]
        assert share == pytest.approx(endings.count(ending) / len(endings))
    cut = endings.count("out_of_tokens") / len(endings)
    assert found["completions/clipped_ratio"] == pytest.approx(cut)
    assert all(entry_of(name) is not None for name in found)


def test_what_is_missing_is_counted_by_its_kind_of_reason() -> None:
    found = metrics(
        make_episode("a", ending="world_broken", reason="KeyError: 'a/1'"),
        make_episode("a", ending="world_broken", reason="KeyError: 'b/2'"),
        make_episode("a", ending="tool_failed", reason="look/up did not\nreturn in 5 s"),
        make_episode("a"),
    )
    counts = {name: n for name, n in found.items() if name.startswith("episodes/missing/")}
    assert counts == {
        "episodes/missing/world_broken: KeyError": 2,
        "episodes/missing/tool_failed: look up did not return in 5 s": 1,
    }
    assert all(entry_of(name) == "episodes/missing/{reason}" for name in counts)


def test_reasons_that_differ_every_time_do_not_flood_the_metrics() -> None:
    lost = [make_episode("a", ending="world_broken", reason=f"no {n}") for n in range(100)]
    assert sum(name.startswith("episodes/missing/") for name in metrics(*lost)) < 10


def test_calls_have_the_names_and_definitions_of_trl() -> None:
    found = metrics(
        make_episode("a", calls=3, failures=("add: TypeError",)),
        make_episode("b"),
    )
    assert found["tools/call_frequency"] == 1.5  # calls over samples
    assert found["tools/failure_frequency"] == pytest.approx(1 / 3)  # failed over calls
    assert metrics(make_episode("b"))["tools/failure_frequency"] == 0


def test_single_answers_have_no_numbers_of_episodes() -> None:
    found = metrics(make_sample())
    assert not [name for name in found if name.startswith(("episodes/", "tools/"))]


def test_the_numbers_are_those_of_all_ranks() -> None:
    samples = [make_episode("a", calls=4), make_episode("a", "b", "c")]

    def work(ranks: Ranks) -> dict[str, float]:
        rollout = Rollout(samples=(samples[ranks.rank],), group_size=1)
        return completion_metrics(0, rollout, ranks)

    alone = metrics(*samples)
    for found in on_each_rank(work):
        assert not isinstance(found, Exception)
        assert {n: v for n, v in found.items() if "/" in n} == alone
