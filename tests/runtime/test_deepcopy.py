"""What is handed to other people's code is theirs alone, and so is what they keep."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.errors import RewardError
from rvpo.rewards.reward import Reward
from rvpo.rewards.suite import RewardSuite
from rvpo.runtime.deepcopy import own
from rvpo.types import RUN_ARGUMENTS, Rewards, Rollout
from tests.fakes import make_prompt, make_sample

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(), inner) | st.sets(st.text()) | st.tuples(inner)
    ),
    max_leaves=20,
)


def changeable(value: Any) -> set[int]:
    """Identities of all that can be changed within a value."""
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, list | dict | tuple | set):
        return set()
    mine = {id(value)} if isinstance(value, list | dict | set) else set()
    return mine.union(*map(changeable, inner))


@settings(deadline=None)
@given(values)
def test_a_copy_is_equal_and_shares_nothing_that_can_be_changed(value: Any) -> None:
    copy = own(value)
    assert copy == value
    assert type(copy) is type(value)
    assert not changeable(copy) & changeable(value)


def test_a_copy_may_be_deep_or_of_another_type_or_impossible() -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    copy = own(deep)
    for _ in range(10_000):
        (copy,) = copy
    assert copy == []
    ordered, lock = OrderedDict(a=[1]), threading.Lock()
    assert own(ordered)["a"] is not ordered["a"]
    assert own([lock]) == [lock]


def a_rollout() -> Rollout:
    message = {"role": "user", "content": "Hi", "calls": [{"name": "f"}]}
    prompts = [make_prompt(str(i), parts=[1, [2, i]], table={"a": ["b"]}) for i in range(2)]
    for prompt in prompts:
        object.__setattr__(prompt, "messages", (message,))
    return Rollout(samples=tuple(make_sample(p, "ab  ") for p in prompts * 2), group_size=1)


def spoil(value: Any) -> None:
    """Empty everything that can be."""
    if isinstance(value, list | dict):
        for item in list(value.values() if isinstance(value, dict) else value):
            spoil(item)
        value.clear()


def score(suite: RewardSuite, steps: int = 3) -> list[Any]:
    rollout = a_rollout()
    return [suite(rollout).rewards.values.tolist() for _ in range(steps)]


@pytest.mark.parametrize("is_async", [False, True])
def test_what_one_reward_does_to_its_inputs_no_other_sees(is_async: bool) -> None:
    def reads(prompts: Any, completions: Any, weights: list[int], **given: Any) -> list[float]:
        data = [item for item in sorted(given.items()) if item[0] not in RUN_ARGUMENTS]
        seen = repr((prompts, completions, weights, data))
        return [float(hash(seen) % 1000)] * len(prompts)

    def mutates(weights: list[int], **given: Any) -> list[float]:
        sizes = [float(len(weights) + len(given["parts"]) + len(p)) for p in given["prompts"]]
        spoil([weights, *given.values()])
        return sizes

    async def reads_later(**given: Any) -> list[float]:
        await asyncio.sleep(0)
        return reads(**given)

    async def mutates_later(weights: list[int], **given: Any) -> list[float]:
        return mutates(weights, **given)

    async def reads_named(weights: list[int], **given: Any) -> list[float]:
        return await reads_later(weights=weights, **given)

    arguments = {"weights": [1, 2]}
    pair = [
        Reward("reads", reads_named if is_async else reads, arguments=arguments),
        Reward("mutates", mutates_later if is_async else mutates, arguments=arguments),
    ]
    first, second = score(RewardSuite(pair)), score(RewardSuite(pair[::-1]))
    alone = score(RewardSuite(pair[:1]))
    assert first == [[row[::-1] for row in step] for step in second]
    assert alone == [[row[:1] for row in step] for step in first]
    assert first[0] == first[1] == first[2]  # as a resumed run would see it


class Client:
    """Of the loop in which it is first used, as sessions of HTTP are."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.beats = 0
        self.is_closed = False

    async def ask(self) -> float:
        if self.loop is None:
            self.loop = asyncio.get_running_loop()
            self.task = asyncio.create_task(self._beat())
        if self.loop is not asyncio.get_running_loop():
            raise RuntimeError("this client belongs to another event loop")
        await asyncio.sleep(0.001)
        return 1.0

    async def _beat(self) -> None:
        try:
            while True:
                self.beats += 1
                await asyncio.sleep(0.001)
        finally:
            self.is_closed = True


def kept_between_steps() -> tuple[Client, list[Callable[..., Any]]]:
    client, gate, queue = Client(), asyncio.Semaphore(1), asyncio.Queue[Any]()

    async def with_client(completions: Any, **columns: Any) -> list[float]:
        return list(await asyncio.gather(*(client.ask() for _ in completions)))

    async def with_semaphore(completions: Any, **columns: Any) -> list[float]:
        async def one() -> float:
            async with gate:  # contended, so that it belongs to a loop
                await asyncio.sleep(0.001)
                return 2.0

        return list(await asyncio.gather(*(one() for _ in completions)))

    workers: list[Any] = []

    async def with_worker(completions: Any, **columns: Any) -> list[float]:
        async def work() -> None:
            while True:
                (await queue.get()).set_result(3.0)

        if not workers:
            workers.append(asyncio.create_task(work()))
        answers = [asyncio.get_running_loop().create_future() for _ in completions]
        for answer in answers:
            await queue.put(answer)
        return list(await asyncio.gather(*answers))

    return client, [with_client, with_semaphore, with_worker]


def test_what_async_rewards_keep_works_over_steps_and_ends_with_the_run() -> None:
    client, functions = kept_between_steps()
    suite = RewardSuite([Reward(f.__name__, f) for f in functions])
    assert score(suite) == [[[1.0, 2.0, 3.0]] * 4] * 3
    assert not client.is_closed
    suite.close()
    assert client.is_closed
    assert client.loop is not None
    assert client.loop.is_closed()


def test_a_suite_that_is_refitted_keeps_its_loop() -> None:
    client, functions = kept_between_steps()
    suite = RewardSuite([Reward("r", functions[0])])
    score(suite, 1)
    score(suite.fitted([make_prompt(parts=1)]), 1)
    suite.close()
    assert client.is_closed


def outcome(function: Callable[..., Any]) -> str:
    suite = RewardSuite([Reward("r", function)])
    try:
        suite(a_rollout())
    except RewardError as error:
        return str(error)
    finally:
        suite.close()
    return "scored"


def test_a_reward_that_cancels_or_leaves_is_one_sentence() -> None:
    async def cancelled(**columns: Any) -> Any:
        task = asyncio.create_task(asyncio.sleep(60))
        task.cancel()
        await task

    async def leaves(**columns: Any) -> Any:
        raise SystemExit(3)

    async def leaves_elsewhere(**columns: Any) -> Any:
        async def leave() -> None:
            raise SystemExit(3)

        task = asyncio.create_task(leave())
        await asyncio.sleep(60)
        await task

    assert "reward 'r' failed" in outcome(cancelled)
    assert "SystemExit: 3" in outcome(leaves)
    assert "the event loop of the async rewards ended" in outcome(leaves_elsewhere)


def test_the_others_end_where_one_fails() -> None:
    ended: list[str] = []

    async def fails(**columns: Any) -> Rewards:
        await asyncio.sleep(0)
        raise ValueError("no")

    async def waits(**columns: Any) -> list[float]:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("waits")
        return []

    suite = RewardSuite([Reward("waits", waits), Reward("fails", fails)])
    with pytest.raises(RewardError, match="reward 'fails' failed"):
        suite(a_rollout())
    suite.close()
    assert ended == ["waits"]
