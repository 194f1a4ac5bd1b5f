"""An environment of verifiers as a world of episodes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import verifiers.v1 as vf
from pydantic import ValidationError
from verifiers.v1.dialects.chat import message_to_wire
from verifiers.v1.utils.loaders import load_environment, resolve_env_config

from rvpo.environments.environment import Reply, ToolFailed
from rvpo.environments.verifiers import TASK, VerifiersConfig
from rvpo.environments.verifiers_agent import Exchange, Interception, PolicyAgent
from rvpo.errors import ConfigError
from rvpo.types import Message, Prompt, RewardScore

_WITHIN: Final = 0.9
"""Share of a turn's seconds that one call may take, so that a tool which hangs is told from a world
that does."""


@dataclass
class Outcome:
    """What an episode came to, once it is over."""

    scores: dict[str, RewardScore] = field(default_factory=dict)
    """Scores by the names of rewards and metrics, without weights."""
    weights: dict[str, float] = field(default_factory=dict)
    """Weights of the environment's own sum; 0 of a metric."""
    trace: Any = None
    """The `verifiers.v1.Trace`; None where none was begun."""


class VerifiersWorld:
    """See `rvpo.environments.environment.Environment`.

    Args:
        where: the setting, for messages.

    Raises:
        ConfigError: see `VerifiersConfig.open`.
    """

    def __init__(self, config: VerifiersConfig, where: str) -> None:
        self._config = config
        self._where = f"{where}: {config.environment}"
        self._env = self._loaded()
        agents = {name: value for name, value in self._env.config if _is_agent(value)}
        if len(agents) != 1:
            raise ConfigError(
                f"{self._where} has the agents {', '.join(agents)}; an episode is of one policy, "
                "so name an environment with one agent"
            )
        self._agent = self._agent_of(*agents.popitem())
        if self._task_config.judges:
            raise ConfigError(
                f"{self._where} asks a judge of its own ({self._task_config.judges[0].id}); take "
                "taskset.task.judges out of its arguments, and write a reward with a criterion, "
                "which a judge of this run is asked"
            )
        self._serving: Serving | None = None
        self.tools: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_finite(self) -> bool:
        """True where its tasks come to an end."""
        return bool(self._env.taskset.bounded)

    def rows(self, count: int | None, skip: int) -> list[dict[str, Any]]:
        """See `rvpo.environments.verifiers.rows`."""
        stop = None if count is None else skip + count
        return asyncio.run(self._rows(itertools.islice(self._env.taskset, skip, stop)))

    def look(self) -> None:
        """Begin the first task, for the tools that it shows."""
        first = next(iter(self._env.taskset), None)
        if first is None:
            raise ConfigError(f"{self._where} has no task")
        try:
            asked = asyncio.run(self._look(first))
        except Exception as error:  # code of others raises anything
            raise ConfigError(f"{self._where} does not begin: {_sentence(error)}") from error
        self.tools = tuple(asked.get("tools", ()))

    def session(self, prompt: Prompt, seed: int) -> VerifiersSession:
        """See `Environment.session`."""
        return VerifiersSession(self, self._task(prompt), prompt.messages, self._config.seconds)

    async def close(self) -> None:
        """See `Environment.close`."""
        if self._serving is not None:
            await self._serving.close()

    async def play(self, task: vf.Task, exchange: Exchange) -> None:
        """One episode of the environment, from its start to its scores."""
        if self._serving is None:
            self._serving = Serving(self._env)
        interception, shared = await self._serving.ready()

        def make(name: str, config: Any) -> PolicyAgent:
            of_shared = type(self._env.taskset).task_type()
            return PolicyAgent(self._agent, interception, exchange, shared, of_shared)

        agents = vf.Agents(self._env.config, make)
        try:
            await self._env.setup(agents)
            await self._env.run(task, agents)
            of_task = vf.TraceTask(
                type=type(task).__name__, data=task.data, key=task.key, hash=task.hash
            )
            info = vf.EnvInfo(id=self._env.config.env_id)
            episode = vf.Episode(env=info, task=of_task, traces=exchange.traces)
            await self._env.finalize(task, episode)
        finally:
            for trace in exchange.traces:
                interception.exchanges.pop(trace.id, None)

    def _loaded(self) -> Any:
        arguments = self._config.arguments
        taskset = {**arguments.get("taskset", {}), "id": self._config.environment}
        try:
            return load_environment(resolve_env_config({**arguments, "taskset": taskset}))
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(map(str, first["loc"]))
            raise ConfigError(f"{self._where}: arguments.{at}: {first['msg']}") from None
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"{self._where} is not installed ({error.name or error}); install its package, or "
                "run where its module lies"
            ) from None
        except Exception as error:  # code of others raises anything
            raise ConfigError(f"{self._where} cannot be loaded: {_sentence(error)}") from error

    def _agent_of(self, name: str, config: Any) -> Any:
        """The agent, beside this process where its settings ask for no other place."""
        if "runtime" in self._config.arguments.get(name, {}):
            return config
        return config.model_copy(update={"runtime": vf.SubprocessConfig()})

    @property
    def _task_config(self) -> Any:
        return self._env.taskset.config.task

    def _task(self, prompt: Prompt) -> vf.Task:
        text = prompt.columns.get(TASK)
        if not isinstance(text, str):
            raise ConfigError(
                f"{self._where}: the data have no column {TASK}; take them from the environment: "
                "{function: rvpo.environments.verifiers:rows, arguments: {environment: "
                f"{self._config.environment}}}}}"
            )
        kind = type(self._env.taskset).task_type()
        return kind(kind.data_type().model_validate_json(text), self._task_config)

    async def _rows(self, tasks: Any) -> list[dict[str, Any]]:
        try:
            return [
                {"prompt": await self._first(task), TASK: task.data.model_dump_json()}
                for task in tasks
            ]
        finally:
            await self.close()
            self._serving = None

    async def _first(self, task: vf.Task) -> list[Message]:
        """The messages that a task begins with."""
        system, prompt = task.data.system_prompt, task.data.prompt
        if prompt is None:
            return messages_of(await VerifiersSession(self, task, (), self._config.seconds).peek())
        before = [{"role": "system", "content": system}] if system else []
        if isinstance(prompt, str):
            return [*before, {"role": "user", "content": prompt}]
        wire = [message_to_wire(each) for each in prompt]
        return [*before, *messages_of({"messages": wire})]

    async def _look(self, task: vf.Task) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._config.seconds):
                return await VerifiersSession(self, task, (), self._config.seconds).peek()
        except TimeoutError:
            raise TimeoutError(f"nothing came in {self._config.seconds:g} s") from None
        finally:
            await self.close()
            self._serving = None


class Serving:
    """What the episodes of an environment share: its servers of tools, and where they ask for
    turns. What was opened is closed by the same task."""

    def __init__(self, env: Any) -> None:
        self._env = env
        self._end = asyncio.Event()
        self._ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._serve())

    async def ready(self) -> tuple[Interception, Mapping[str, Any]]:
        """The interception, and the servers of tools by their names."""
        found: tuple[Interception, Mapping[str, Any]] = await asyncio.shield(self._ready)
        return found

    async def close(self) -> None:
        """End them."""
        self._end.set()
        if not self._ready.done():
            self._task.cancel()
        await asyncio.wait([self._task])

    async def _serve(self) -> None:
        try:
            async with self._env.shared_tools() as shared:
                secrets = tuple(each.state_secret for each in shared.values() if each.state_secret)
                async with Interception(secrets) as interception:
                    try:
                        await self._env.start()
                        self._ready.set_result((interception, shared))
                        await self._end.wait()
                    finally:
                        await self._env.stop()
        except Exception as error:  # code of others raises anything
            if not self._ready.done():
                self._ready.set_exception(error)
                self._ready.exception()  # read, where nobody waits for it


class VerifiersSession:
    """See `rvpo.environments.environment.Session`.

    The episode of verifiers runs beside it, and waits where it asks for a turn of the policy.

    Args:
        prompt: messages that the policy is shown first.
        seconds: time that the world may take for a turn.
    """

    def __init__(
        self, world: VerifiersWorld, task: vf.Task, prompt: Sequence[Message], seconds: float
    ) -> None:
        self._world = world
        self._task = task
        self._messages = list(prompt)
        self._seconds = seconds
        self._exchange = Exchange(seconds * _WITHIN)
        self._play: asyncio.Task[None] | None = None
        self.state = Outcome()

    async def peek(self) -> dict[str, Any]:
        """The first request for a turn; the episode ends with it."""
        try:
            return await self._begun()
        finally:
            await self._give_up()

    async def begin(self) -> Sequence[Message]:
        """See `Session.begin`."""
        return self._further(await self._begun())

    async def answer(self, message: Message) -> Reply:
        """See `Session.answer`."""
        self._messages.append(message)
        self._exchange.say(message["content"])
        asked = await self._asked()
        failures, self._exchange.failures = tuple(self._exchange.failures), []
        if asked is None:
            self._read()
            return Reply()
        said = asked["messages"][len(self._messages) - 1]
        new = self._further(asked)
        calls = len(said.get("tool_calls") or ())
        return Reply(
            messages=tuple(new),
            said={**message, "tool_calls": said["tool_calls"]} if calls else None,
            calls=calls,
            failures=failures,
        )

    async def close(self) -> None:
        """See `Session.close`. An episode that waits for the policy is scored as it is."""
        if self._play is not None and not self._play.done() and self._exchange.is_waiting:
            self._exchange.stop()
            await asyncio.wait([self._play], timeout=self._seconds)
            if self._play.done():
                with suppress(Exception):  # code of others; nobody asks for this turn
                    self._read()
        await self._give_up()

    async def _begun(self) -> dict[str, Any]:
        self._play = asyncio.create_task(self._world.play(self._task, self._exchange))
        asked = await self._asked()
        if asked is None:
            self._read()
            raise RuntimeError("it was over before the policy's first turn")
        return asked

    async def _asked(self) -> dict[str, Any] | None:
        """The next request; None where the episode is over."""
        assert self._play is not None
        request = asyncio.ensure_future(self._exchange.asked.get())
        try:
            await asyncio.wait([request, self._play], return_when=asyncio.FIRST_COMPLETED)
            return request.result() if request.done() else None
        finally:
            request.cancel()

    def _read(self) -> None:
        """Take what the episode came to, or raise why it came to nothing."""
        assert self._play is not None
        if self._exchange.late:
            raise ToolFailed(self._exchange.late)
        self._play.result()
        for trace in self._exchange.traces:
            if not trace.ok and trace.errors:
                raise RuntimeError(f"{trace.errors[-1].type}: {trace.errors[-1].message}")
        state, trace = self.state, self._exchange.traces[-1]
        state.trace = trace
        state.scores |= {name: value.score for name, value in trace.rewards.items() if value}
        state.weights |= {name: value.weight for name, value in trace.rewards.items() if value}
        state.scores |= self._exchange.scores
        state.weights |= self._exchange.weights

    def _further(self, asked: dict[str, Any]) -> list[Message]:
        """The messages behind those that were there.

        Raises:
            RuntimeError: those were changed.
        """
        found = messages_of(asked)
        count = len(self._messages)
        for was, now in zip(self._messages, found, strict=False):
            if was["role"] != now["role"] or _differs(was, now):
                raise RuntimeError(
                    f"it rewrote a message of the {was['role']}; an episode is one conversation "
                    "that only grows"
                )
        if len(found) < count:
            raise RuntimeError("it began another conversation; an episode is one")
        self._messages = found
        return found[count:]

    async def _give_up(self) -> None:
        if self._play is not None:
            self._play.cancel()
            await asyncio.wait([self._play], timeout=self._seconds)


def messages_of(asked: Mapping[str, Any]) -> list[Message]:
    """The messages of a request, with texts alone.

    Raises:
        RuntimeError: one has something else, such as an image.
    """
    return [{**each, "content": _text(each.get("content"))} for each in asked["messages"]]


def _text(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    kinds = {part["type"] for part in content} - {"text"}
    if kinds:
        raise RuntimeError(
            f"it says something with {', '.join(sorted(kinds))}; texts alone are read"
        )
    return "\n".join(part["text"] for part in content)


def _differs(was: Message, now: Message) -> bool:
    """True where a message of someone else than the policy was changed: its own are read anew, and
    without the calls in them."""
    return bool(was["role"] != "assistant" and _text(was["content"]) != now["content"])


def _is_agent(value: Any) -> bool:
    return isinstance(value, vf.AgentConfig)


def _sentence(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
