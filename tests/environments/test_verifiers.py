"""Environments in the style of verifiers' own, played by a policy that the test speaks for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import pytest

from rvpo.environments import VerifiersConfig, WorldReply
from rvpo.environments.verifiers import INSTALL_VERIFIERS, part, rows
from rvpo.errors import ConfigError, DataError, RewardError
from rvpo.types import Failed, Message, Prompt
from tests.environments.verifiers_environments import MODULES

HAS_VERIFIERS = find_spec("verifiers") is not None
needs_verifiers = pytest.mark.skipif(not HAS_VERIFIERS, reason=f"needs: {INSTALL_VERIFIERS}")


@pytest.fixture(scope="module", autouse=True)
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("environments")
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


class Without:
    """A finder that has modules hidden from those behind it."""

    def __init__(self, module: str) -> None:
        self._module = module

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == self._module:
            raise ModuleNotFoundError(name)


def prompts(environment: str, count: int = 2, **arguments: Any) -> list[Prompt]:
    return [
        Prompt(
            id=str(number),
            messages=tuple(row["prompt"]),
            columns={key: value for key, value in row.items() if key != "prompt"},
        )
        for number, row in enumerate(rows(environment, arguments, count=count))
    ]


def says(text: str) -> Message:
    return {"role": "assistant", "content": text}


def during(config: VerifiersConfig, work: Callable[[Any], Awaitable[None]]) -> None:
    world = config.open()

    async def run() -> None:
        try:
            await work(world)
        finally:
            await world.close()

    asyncio.run(run())


async def played(world: Any, prompt: Prompt, texts: Sequence[str]) -> tuple[list[WorldReply], Any]:
    """The replies to some turns, and what the episode came to."""
    session = world.session(prompt, 0)
    assert await session.begin() == []
    replies = [await session.answer(says(text)) for text in texts]
    await session.close()
    return replies, session.state


@pytest.mark.parametrize("module", ["verifiers", "renderers", "openai", "prime_sandboxes"])
def test_without_a_package_a_sentence_says_what_to_install(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "meta_path", [Without(module), *sys.meta_path])
    monkeypatch.delitem(sys.modules, module, raising=False)
    for ask in (VerifiersConfig(environment="spelling").open, partial(rows, "spelling")):
        with pytest.raises(ConfigError) as caught:
            ask()
        assert module in str(caught.value).partition(", not installed")[0]
        assert str(caught.value).endswith(f"; write: {INSTALL_VERIFIERS}")


@needs_verifiers
def test_a_task_is_a_row_and_each_part_of_its_score_a_reward() -> None:
    first, second = prompts("spelling")
    assert [message["content"] for message in first.messages] == ["Use dashes.", "Spell cat."]

    async def work(world: Any) -> None:
        replies, right = await played(world, first, ["c-a-t"])
        assert replies == [WorldReply()]
        _, wrong = await played(world, second, ["mouse"])
        assert part([right, wrong], "spelt") == [1.0, 0.0]
        assert part([right, wrong], "short") == [1.0, 1.0]
        assert part([right, wrong], "long") == [0.0, 0.0]
        assert part([right, wrong], "length") == [5.0, 5.0]
        assert right.weights == {"spelt": 2, "broken": 1, "short": 0.5, "long": 0.5, "length": 0}
        for score in part([right, wrong], "broken"):
            assert isinstance(score, Failed)
            assert "KeyError: 'no such letter'" in score.reason
        with pytest.raises(RewardError, match=r"gives no 'spelled'; it gives .*spelt \(weight 2\)"):
            part([right, wrong], "spelled")

    during(VerifiersConfig(environment="spelling"), work)


@needs_verifiers
def test_a_user_of_the_environment_speaks_in_the_turns_of_the_world() -> None:
    prompt = prompts("counting")[1]
    assert prompt.messages == ({"role": "user", "content": "Count from 1."},)

    async def work(world: Any) -> None:
        replies, outcome = await played(world, prompt, ["2", "3", "5"])
        said = [message for reply in replies for message in reply.messages]
        assert said == [{"role": "user", "content": "Go on."}] * 2
        assert part([outcome], "counted") == [pytest.approx(2 / 3)]

    during(VerifiersConfig(environment="counting"), work)


@needs_verifiers
def test_an_episode_without_turns_left_is_scored_as_it_is() -> None:
    (prompt,) = prompts("counting", count=1)

    async def work(world: Any) -> None:
        _, outcome = await played(world, prompt, ["1"])
        assert part([outcome], "counted") == [pytest.approx(1 / 3)]
        assert outcome.trace.stop_condition == "max_turns"

    during(VerifiersConfig(environment="counting"), work)


@needs_verifiers
def test_episodes_at_once_know_nothing_of_each_other() -> None:
    several = prompts("counting", count=20)

    async def work(world: Any) -> None:
        texts = [[str(n + turn) for turn in (1, 2, 3)][: 1 + n % 3] for n in range(20)]
        ended = await asyncio.gather(*map(played, [world] * 20, several, texts))
        scores = part([outcome for _, outcome in ended], "counted")
        assert scores == [pytest.approx((1 + n % 3) / 3) for n in range(20)]

    during(VerifiersConfig(environment="counting"), work)


@needs_verifiers
def test_an_environment_that_raises_breaks_its_episode() -> None:
    (prompt,) = prompts("counting", count=1)

    async def work(world: Any) -> None:
        with pytest.raises(RuntimeError, match="the user left"):
            await played(world, prompt, ["raise"])
        _, outcome = await played(world, prompt, ["1"])
        assert part([outcome], "counted") == [pytest.approx(1 / 3)]

    during(VerifiersConfig(environment="counting"), work)


@needs_verifiers
@pytest.mark.parametrize("text", ["sleep", "block"])
def test_an_environment_that_hangs_holds_up_nobody(text: str) -> None:
    (prompt,) = prompts("counting", count=1)

    async def work(world: Any) -> None:
        session = world.session(prompt, 0)
        await session.begin()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.answer(says(text)), 1)
        await session.close()

    during(VerifiersConfig(environment="counting"), work)


@needs_verifiers
def test_a_prompt_that_is_not_the_environments_is_refused() -> None:
    (prompt,) = prompts("spelling", count=1)

    async def work(world: Any) -> None:
        changed = Prompt(
            id="0", messages=({"role": "user", "content": "Hi."},), columns=prompt.columns
        )
        with pytest.raises(RuntimeError, match="it rewrote a message of the user"):
            await world.session(changed, 0).begin()
        with pytest.raises(ConfigError, match="the data have no column verifiers_task"):
            world.session(Prompt(id="0", messages=prompt.messages), 0)

    during(VerifiersConfig(environment="spelling"), work)


@needs_verifiers
@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"environment": "no-such-environment"}, "no-such-environment is not installed"),
        (
            {"environment": "spelling", "arguments": {"taskset": {"wrods": ["a"]}}},
            r"spelling: arguments\.taskset\.wrods: ",
        ),
        ({"environment": "spelling", "arguments": {"taskset": {"words": []}}}, "has no task"),
        ({"environment": "seats"}, "has the agents white, black; an episode is of one policy"),
        (
            {
                "environment": "spelling",
                "arguments": {"taskset": {"task": {"judges": [{"id": "reference"}]}}},
            },
            "asks a judge of its own",
        ),
    ],
    ids=["missing", "misspelt", "empty", "two agents", "judge"],
)
def test_what_cannot_be_trained_is_said_in_a_sentence(
    settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        VerifiersConfig(**settings).open()
    assert str(caught.value).startswith("environment: ")
    assert "\n" not in str(caught.value)


@needs_verifiers
def test_tasks_without_an_end_are_counted() -> None:
    with pytest.raises(DataError, match="the tasks of counting have no end; write count: N"):
        rows("counting")
    assert len(rows("spelling")) == 2
    assert [row["prompt"][1]["content"] for row in rows("spelling", skip=1)] == ["Spell mouse."]
