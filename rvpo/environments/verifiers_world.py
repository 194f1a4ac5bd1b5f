"""An environment of verifiers as a world of episodes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import verifiers.v1 as vf
from pydantic import ValidationError
from verifiers.v1.dialects.chat import message_to_wire
from verifiers.v1.utils.loaders import load_environment, resolve_env_config

from rvpo.environments.environment import WorldReply
from rvpo.environments.verifiers import TASK, VerifiersConfig
from rvpo.environments.verifiers_agent import Exchange, Interception, PolicyAgent
from rvpo.environments.verifiers_episode import EpisodeOutcome, PlayedEpisode, messages_of
from rvpo.errors import ConfigError, EngineError
from rvpo.runtime.event_loop import EventLoop
from rvpo.types import Message, Prompt

_WITHIN: Final = 0.9
"""Share of a turn's seconds that one call may take, so that a tool which hangs is told from a world
that does."""
_END_S: Final = 5.0
"""Seconds that an environment may take to end."""


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
        self._loop = EventLoop("environment of verifiers", EngineError)
        self._serving: Serving | None = None
        self.tools: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_finite(self) -> bool:
        """True where its tasks come to an end."""
        return bool(self._env.taskset.bounded)

    def rows(self, count: int | None, skip: int) -> list[dict[str, Any]]:
        """See `rvpo.environments.verifiers.rows`."""
        stop = None if count is None else skip + count
        tasks = itertools.islice(self._env.taskset, skip, stop)
        try:
            return self._loop.run(self._rows(tasks))
        finally:
            self._loop.close()

    def look(self) -> None:
        """Begin the first task, for the tools that it shows."""
        first = next(iter(self._env.taskset), None)
        if first is None:
            raise ConfigError(f"{self._where} has no task")
        seconds = self._config.seconds
        episode = self._episode(first, ())
        looking = self._loop.start(episode.peek())
        try:
            asked = looking.result(seconds)
        except TimeoutError:
            looking.cancel()
            raise ConfigError(
                f"{self._where} did not begin in {seconds:g} s; raise environment.seconds"
            ) from None
        except Exception as error:  # code of others raises anything
            raise ConfigError(f"{self._where} does not begin: {_sentence(error)}") from error
        self.tools = tuple(asked.get("tools", ()))

    def session(self, prompt: Prompt, seed: int) -> VerifiersSession:
        """See `Environment.session`."""
        episode = self._episode(self._task(prompt), prompt.messages)
        return VerifiersSession(self._loop, episode, self._config.seconds)

    async def close(self) -> None:
        """See `Environment.close`."""
        if self._serving is not None:
            ended = asyncio.wrap_future(self._loop.start(self._serving.close()))
            with suppress(TimeoutError):  # its loop is blocked, and left behind in its thread
                await asyncio.wait_for(ended, _END_S)
            self._serving = None
        self._loop.close()

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
            if self._serving is not None:
                await self._serving.close()
                self._serving = None

    async def _first(self, task: vf.Task) -> list[Message]:
        """The messages that a task begins with."""
        system, prompt = task.data.system_prompt, task.data.prompt
        if prompt is None:
            return messages_of(await self._episode(task, ()).peek())
        before = [{"role": "system", "content": system}] if system else []
        if isinstance(prompt, str):
            return [*before, {"role": "user", "content": prompt}]
        wire = [message_to_wire(each) for each in prompt]
        return [*before, *messages_of({"messages": wire})]

    def _episode(self, task: vf.Task, prompt: Sequence[Message]) -> PlayedEpisode:
        seconds = self._config.seconds
        return PlayedEpisode(partial(self.play, task), prompt, seconds, seconds * _WITHIN)


class Serving:
    """The servers that episodes of an environment share: its servers of tools, and the one that
    they ask for turns. What was opened is closed by the same task."""

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

    The episode lives in a loop of its environment's own: code of others that blocks it makes these
    wait, who have deadlines, and holds up no other environment.
    """

    def __init__(self, loop: EventLoop, episode: PlayedEpisode, seconds: float) -> None:
        self._loop = loop
        self._episode = episode
        self._seconds = seconds

    @property
    def state(self) -> EpisodeOutcome:
        """The outcome, complete once the session is closed."""
        return self._episode.outcome

    async def begin(self) -> Sequence[Message]:
        """See `Session.begin`."""
        return await asyncio.wrap_future(self._loop.start(self._episode.begin()))

    async def answer(self, message: Message) -> WorldReply:
        """See `Session.answer`."""
        return await asyncio.wrap_future(self._loop.start(self._episode.answer(message)))

    async def close(self) -> None:
        """See `Session.close`. An episode that waits for the policy is scored as it is."""
        ended = asyncio.wrap_future(self._loop.start(self._episode.close()))
        try:
            await asyncio.wait_for(ended, 2 * self._seconds + _END_S)
        except TimeoutError:
            self.state.problem = "its environment blocks"


def _is_agent(value: Any) -> bool:
    return isinstance(value, vf.AgentConfig)


def _sentence(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
