"""Prompts that teach little come seldom, and what decides about it comes back with a checkpoint."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rvpo.config.data import DataConfig
from rvpo.config.order import DifficultyOrder, PlainOrder
from rvpo.data.difficulty import ByDifficulty
from rvpo.data.order import PromptStream
from rvpo.types import Prompt
from tests.fakes import make_prompt

SOURCE = {"function": "tests.toy:letters"}


def numbered(count: int) -> tuple[Prompt, ...]:
    return tuple(make_prompt(str(index)) for index in range(count))


streams = st.builds(
    PromptStream,
    st.integers(1, 12).map(numbered),
    st.integers(1, 8),
    st.integers(0, 2**32),
)
chances = st.floats(0.05, 1.0)


def ids(prompts: tuple[Prompt, ...]) -> list[str]:
    return [prompt.id for prompt in prompts]


def visit(
    order: PromptStream | ByDifficulty, steps: range, tells: Callable[[str], float]
) -> list[list[str]]:
    """The prompts of each step, of which each group tells what its prompt does."""
    seen = []
    for step in steps:
        seen.append(ids(order.at(step)))
        order.conclude(step, [(id, tells(id)) for id in seen[-1]])
    return seen


@given(streams, chances, st.integers(0, 3), st.integers(1, 8))
def test_where_every_group_tells_all_the_order_is_the_plain_one(
    stream: PromptStream, least: float, lag: int, steps: int
) -> None:
    found = visit(ByDifficulty(stream, least, lag), range(steps), lambda id: 1.0)
    assert found == visit(stream, range(steps), lambda id: 1.0)


@given(streams, chances, st.integers(0, 3))
def test_an_unseen_prompt_is_never_passed_over(
    stream: PromptStream, least: float, lag: int
) -> None:
    steps = range(len(stream.prompts) // stream.per_step)
    assert visit(ByDifficulty(stream, least, lag), steps, lambda id: 0.0) == visit(
        stream, steps, lambda id: 0.0
    )


@given(streams, chances, st.integers(0, 3))
def test_of_the_first_epoch_nothing_is_missing_but_what_stood_in_the_place_of_others(
    stream: PromptStream, least: float, lag: int
) -> None:
    order = ByDifficulty(stream, least, lag)
    plain, known, step = ids(tuple(stream.first(len(stream.prompts)))), set[str](), 0
    while plain:
        own, instead = ids(order.at(step)), ids(order.instead(step, 0, 2))
        for id in own:
            while plain and plain[0] != id and plain[0] in known:  # it may be passed over
                del plain[0]
            if not plain:
                break
            assert plain.pop(0) == id
        order.conclude(step, [(id, 0.0) for id in own + instead])
        known |= {*own, *instead}
        step += 1


def test_easy_and_hopeless_prompts_are_seen_less_and_none_is_given_up() -> None:
    stream = PromptStream(numbered(40), 4, seed=3)
    order = ByDifficulty(stream, least=0.2)
    steps = visit(order, range(400), lambda id: float(int(id) < 20))
    seen = Counter(chain.from_iterable(steps))
    open_, dead = (sum(seen[str(n)] for n in part) for part in (range(20), range(20, 40)))
    assert dead / open_ == pytest.approx(0.2, abs=0.05)
    assert min(seen[str(n)] for n in range(40)) > 0


def test_a_prompt_that_tells_again_comes_back() -> None:
    order = ByDifficulty(PromptStream(numbered(1), 1, seed=0), least=0.2)
    for step, told in enumerate([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]):
        order.at(step)
        metrics = order.conclude(step, [("0", told)])
        if step == 2:
            assert metrics["order/telling"] == 0.125
    assert metrics["order/telling"] == 1 - 0.875 / 8
    assert metrics["order/known_frac"] == 1.0


def test_passed_over_prompts_are_counted_and_make_epochs_shorter() -> None:
    order = ByDifficulty(PromptStream(numbered(4), 4, seed=0), least=0.1)
    passed = 0.0
    for step in range(6):
        order.at(step)
        passed += order.conclude(step, [(str(n), 0.0) for n in range(4)])["order/passed_over"]
    assert passed > 12
    assert order.epochs(6) == (6 * 4 + passed) / 4


@given(streams, chances, st.integers(0, 3), st.data())
def test_a_resumed_run_sees_what_it_would_have_seen(
    stream: PromptStream, least: float, lag: int, data: st.DataObject
) -> None:
    tells = data.draw(st.lists(st.floats(0, 1), min_size=12, max_size=12))
    stop = data.draw(st.integers(0, 8))

    def tell(id: str) -> float:
        return tells[int(id)]

    whole, first, second = (ByDifficulty(stream, least, lag) for _ in range(3))
    expected = ahead(whole, range(9), lag, tell)
    found = ahead(first, range(stop), lag, tell)
    second.restore(json.loads(json.dumps(first.state())))
    assert found + ahead(second, range(stop, 9), lag, tell) == expected


def ahead(order: ByDifficulty, steps: range, lag: int, tell: Callable[[str], float]) -> list[Any]:
    """The prompts of each step and those instead, where rollouts begin as early as they may."""
    seen: dict[int, list[str]] = {}
    given: list[Any] = []
    for step in steps:
        for later in range(step, step + lag + 1):
            seen.setdefault(later, ids(order.at(later)))
        instead = ids(order.instead(step, 0, 2))
        given.append((seen[step], instead))
        order.conclude(step, [(id, tell(id)) for id in seen[step] + instead])
    return given


@given(streams, chances, st.integers(1, 3))
def test_a_late_rollout_has_the_prompts_of_an_early_one(
    stream: PromptStream, least: float, lag: int
) -> None:
    """How fast generation is does not decide what is trained on."""

    def tell(id: str) -> float:
        return int(id) / 12

    early, late = (ByDifficulty(stream, least, lag) for _ in range(2))
    expected = [seen for seen, _ in ahead(early, range(8), lag, tell)]
    found = []
    for step in range(8):
        found.append(ids(late.at(step)))
        instead = ids(late.instead(step, 0, 2))
        late.conclude(step, [(id, tell(id)) for id in found[-1] + instead])
    assert found == expected


@given(streams, st.integers(0, 20), st.integers(0, 2), st.integers(0, 10))
def test_prompts_instead_are_new_to_the_step_where_there_are_such(
    stream: PromptStream, step: int, turn: int, count: int
) -> None:
    found = ids(stream.instead(step, turn, count))
    assert len(found) == count
    assert found == ids(stream.instead(step, turn, count))
    free = {prompt.id for prompt in stream.prompts} - set(ids(stream.at(step)))
    if len(free) >= count and len(stream.prompts) >= 2 * (stream.per_step + count):
        assert set(found) <= free
        assert len(set(found)) == count


def test_the_prompts_of_a_step_do_not_depend_on_those_that_replaced_others() -> None:
    one, other = (PromptStream(numbered(20), 4, seed=1) for _ in range(2))
    one.instead(0, 0, 4)
    assert one.at(1) == other.at(1)
    assert one.instead(1, 0, 3) == other.instead(1, 0, 3)
    assert one.instead(1, 0, 3) != one.instead(1, 1, 3)


def test_an_order_without_memory_forgets_that_of_another() -> None:
    stream = PromptStream(numbered(4), 2, seed=1)
    stream.restore({"known": {"0": 0.0}, "newest": [], "start": [3, 9]})
    assert stream.state() == {}
    assert stream.conclude(0, [("0", 0.0)]) == {}


def test_an_order_that_was_chosen_late_goes_on_where_the_plain_one_was() -> None:
    stream = PromptStream(numbered(9), 2, seed=1)
    assert ByDifficulty(stream, least=0.5).at(3) == stream.at(3)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, PlainOrder()),
        ({"order": "plain"}, PlainOrder()),
        ({"order": "difficulty"}, DifficultyOrder(least=0.2)),
        ({"order": {"name": "difficulty", "least": 1}}, DifficultyOrder(least=1.0)),
    ],
)
def test_an_order_is_its_name_or_its_settings(given: dict[str, Any], expected: Any) -> None:
    assert DataConfig.model_validate({"train": SOURCE} | given).order == expected


@pytest.mark.parametrize(
    "wrong",
    ["easy", 3, {"name": "plain", "least": 0.5}, {"name": "difficulty", "least": 0}],
)
def test_what_is_no_order_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        DataConfig.model_validate({"train": SOURCE, "order": wrong})
