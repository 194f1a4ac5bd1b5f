"""Every order, over prompts of every kind, goes on after a resume as if nothing had happened, and
is the same on every rank."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.config.data import DataConfig
from rvpo.data.difficulty import ByDifficulty
from rvpo.data.mixture import Mixture
from rvpo.data.order import PromptOrder, PromptStream
from rvpo.data.shares import Shares
from rvpo.data.streamed import READ_FIRST
from rvpo.data.visits import is_first_epoch
from rvpo.types import Prompt
from tests.data.test_streamed import numbered, stream, write
from tests.fakes import make_prompt

SHARES = (0.7, 0.3)


def listed(part: int, size: int) -> tuple[Prompt, ...]:
    return tuple(make_prompt(f"{part}/{row}") for row in range(size))


@dataclass(frozen=True)
class Kind:
    """A way in which prompts lie, made anew as each process makes it."""

    folder: Path

    def streamed(self, size: int, packed: bool, part: int = 0) -> Sequence[Prompt]:
        path = self.folder / f"{size}-{packed}.jsonl"
        if not path.exists():
            write(path, numbered(size), packed)
        return stream(path, seed=part, buffer=5)

    def make(self, name: str, small: int, large: int) -> Sequence[Prompt]:
        match name:
            case "one":
                return listed(0, large)
            case "lines":
                return self.streamed(large, packed=False)
            case "pieces":
                return self.streamed(large, packed=True)
            case "mixture":
                return Mixture((listed(0, small), listed(1, large)), Shares(SHARES))
        parts = (listed(1, small), self.streamed(large, packed=name == "mixed pieces"))
        return Mixture(parts, Shares(SHARES))


KINDS = ("one", "lines", "pieces", "mixture", "mixed lines", "mixed pieces")
ORDERS: dict[str, Callable[[PromptStream, int], PromptOrder]] = {
    "plain": lambda stream, lag: stream,
    "difficulty": lambda stream, lag: ByDifficulty(stream, 0.2, lag),
}


def tells(prompt: str) -> float:
    """What the groups of a prompt tell: most of them little."""
    return (0.0, 0.1, 0.6)[sum(map(ord, prompt)) % 3]


def trained(order: PromptOrder, steps: range, last: int, lag: int = 0) -> Iterator[dict[str, Any]]:
    """The prompts of each step, those instead, metrics and epochs, with rollouts begun as early as
    they may."""
    seen: dict[int, list[str]] = {}
    for step in steps:
        for later in range(step, min(step + lag, last - 1) + 1):
            seen.setdefault(later, [prompt.id for prompt in order.at(later)])
        instead = [prompt.id for prompt in order.instead(step, 0, 2)]
        told = [(id, tells(id)) for id in seen[step] + instead]
        metrics = order.conclude(step, told)
        yield {"at": seen[step], "instead": instead, "epochs": order.epochs(step + 1)} | metrics


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ORDERS)
@settings(deadline=None, max_examples=8)
@given(data=st.data())
def test_a_run_that_goes_on_sees_what_it_would_have_seen_on_every_rank(
    tmp_path_factory: pytest.TempPathFactory, name: str, kind: str, data: st.DataObject
) -> None:
    small, large = data.draw(st.integers(1, 4)), data.draw(st.integers(4, 12))
    per_step, lag = data.draw(st.integers(1, 6)), data.draw(st.integers(0, 2))
    last, seed = 10, data.draw(st.integers(0, 99))
    stop = data.draw(st.integers(1, last - 1))
    prompts = Kind(tmp_path_factory.mktemp("rows"))

    def begun() -> PromptOrder:
        plain = PromptStream(prompts.make(kind, small, large), per_step, seed)
        return ORDERS[name](plain, lag)

    whole = list(trained(begun(), range(last), last, lag))
    first = begun()
    found = list(trained(first, range(stop), last, lag))
    state = json.dumps(first.state())
    for _ in range(2):  # ranks, each of which has an order of its own
        rank = begun()
        rank.restore(json.loads(state))
        assert found + list(trained(rank, range(stop, last), last, lag)) == whole


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=3),
    per_step=st.integers(1, 12),
    steps=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_passing_over_keeps_the_share_of_each_source(
    sizes: list[int], per_step: int, steps: int, seed: int
) -> None:
    shares = Shares(tuple(float(n + 1) for n in range(len(sizes))))
    prompts = Mixture(tuple(listed(n, size) for n, size in enumerate(sizes)), shares)
    plain = PromptStream(prompts, per_step, seed)
    order = ByDifficulty(plain, least=0.1)
    passed = 0.0
    for step, found in enumerate(trained(order, range(steps), steps)):
        sources = Counter(id.partition("/")[0] for id in found["at"])
        assert sources == Counter(prompt.id.partition("/")[0] for prompt in plain.at(step))
        passed += found["order/passed_over"]
        assert found["epochs"] == pytest.approx(plain.epochs(step + 1)) or passed
        assert found["epochs"] >= plain.epochs(step + 1) - 1e-9
        assert 0 < found["order/known_frac"] <= 1


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize(("per_step", "count"), [(4, 1), (4, 3), (8, 2), (5, 1)])
def test_prompts_instead_keep_the_share_of_each_source(
    name: str, per_step: int, count: int
) -> None:
    prompts = Mixture((listed(0, 4000), listed(1, 4000)), Shares((0.75, 0.25)))
    order = ORDERS[name](PromptStream(prompts, per_step, seed=0), 0)
    found = Counter[str]()
    for step in range(600):
        instead = order.instead(step, 0, count)
        order.conclude(step, [])
        found.update(prompt.id.partition("/")[0] for prompt in instead)
    assert found.total() == 600 * count
    assert found["1"] / found.total() == pytest.approx(0.25, abs=0.06)


def test_of_a_mixture_the_source_that_tells_nothing_is_passed_over_and_the_other_is_not() -> None:
    prompts = Mixture((listed(0, 10), listed(1, 10)), Shares((0.5, 0.5)))
    plain = PromptStream(prompts, 10, seed=3)
    order = ByDifficulty(plain, least=0.2)
    passed, seen = 0.0, []
    for step in range(8):
        ids = [prompt.id for prompt in order.at(step)]
        seen.append([id for id in ids if id[0] == "1"])
        told = [(id, float(id[0] == "1")) for id in ids]
        passed += order.conclude(step, told)["order/passed_over"]
    assert passed > 20
    assert seen == [[p.id for p in plain.at(step) if p.id[0] == "1"] for step in range(8)]
    assert order.epochs(8) == plain.epochs(8) == 4  # those of the source that is visited least


@pytest.mark.parametrize("name", ORDERS)
def test_epochs_and_known_prompts_of_a_stream_count_all_of_its_rows(
    tmp_path: Path, name: str
) -> None:
    rows, per_step = READ_FIRST + 44, 50
    prompts = Kind(tmp_path).make("lines", 1, rows)
    order = ORDERS[name](PromptStream(prompts, per_step, 0), 0)
    found = []
    for step in range(rows // per_step):
        told = [(prompt.id, 1.0) for prompt in order.at(step)]
        found.append(order.conclude(step, told) | {"epochs": order.epochs(step + 1)})
    expected = [per_step * (step + 1) / rows for step in range(rows // per_step)]
    assert [each["epochs"] for each in found] == pytest.approx(expected)
    if name == "difficulty":
        assert [each["order/known_frac"] for each in found] == pytest.approx(expected)


def test_known_prompts_are_no_share_while_nobody_knows_of_how_many(tmp_path: Path) -> None:
    prompts = Kind(tmp_path).make("pieces", 1, 8)
    order = ByDifficulty(PromptStream(prompts, 4, 0), least=0.2)
    metrics = []
    for step in range(3):
        told = [(prompt.id, 1.0) for prompt in order.at(step)]
        metrics.append(order.conclude(step, told))
    assert "order/known_frac" not in metrics[0]
    assert metrics[0]["order/telling"] == 1.0
    assert metrics[2]["order/known_frac"] == 1.0


@pytest.mark.parametrize("packed", [False, True])
def test_what_takes_the_place_of_a_broken_row_is_the_same_after_a_resume(
    tmp_path: Path, packed: bool
) -> None:
    rows = numbered(READ_FIRST + 60)
    path = write(tmp_path / "rows.jsonl", rows, packed)
    later = [p.id for p in chain(*map(PromptStream(stream(path), 20, 0).at, range(13, 15)))]
    for name in later[::4]:
        rows[int(name)]["prompt"] = None
    write(path, rows, packed)
    whole = PromptStream(stream(path), 20, 0)
    visited = [whole.at(step) for step in range(25)]
    for step in (14, 20, 24):
        assert PromptStream(stream(path), 20, 0).at(step) == visited[step]


@pytest.mark.parametrize(
    ("kind", "seen", "expected"),
    [("one", 8, True), ("one", 9, False), ("mixture", 4, True), ("mixture", 7, False),
     ("lines", 8, True), ("lines", 9, False), ("pieces", 1, False)],
)  # fmt: skip
def test_a_run_knows_if_it_sees_no_prompt_twice(
    tmp_path: Path, kind: str, seen: int, expected: bool
) -> None:
    assert is_first_epoch(Kind(tmp_path).make(kind, 3, 8), seen) is expected


def test_an_order_whose_sources_got_shares_later_goes_on_from_the_plain_one() -> None:
    before = ByDifficulty(PromptStream(listed(0, 9), 4, 1), least=0.2)
    before.at(0)
    before.conclude(0, [("0/1", 0.0)])
    prompts = Mixture((listed(0, 4), listed(1, 5)), Shares(SHARES))
    after = ByDifficulty(PromptStream(prompts, 4, 1), least=1.0)
    after.restore(before.state())
    assert after.at(1) == PromptStream(prompts, 4, 1).at(1)


def test_shares_go_with_every_order() -> None:
    sources = [{"path": "a.jsonl", "share": 0.7}, {"path": "b.jsonl", "share": 0.3}]
    config = DataConfig.model_validate({"train": sources, "order": "difficulty"})
    assert config.shares == SHARES
