"""The policy as an agent of verifiers.

A rollout of verifiers has a harness, a program that asks a model for turns and carries out their
calls, and an interception server, which every such request goes through: it keeps the trace, and
asks the task's conditions of stopping. Here the harness runs in this process, and who is asked for
a turn is the episode, which waits for the policy.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import aiohttp
import verifiers.v1 as vf
from verifiers.v1.dialects.chat import message_to_wire
from verifiers.v1.harnesses.utils.mcp import connect_mcp, mcp_content_to_chat_content
from verifiers.v1.interception import InterceptionServer
from verifiers.v1.utils.decorators import invoke

from rvpo.environments.tool_calls import tool_calls
from rvpo.types import Failed, RewardScore

_MODEL: Final = "policy"
_NOWHERE: Final = vf.EvalClientConfig(base_url="http://127.0.0.1:9/v1", api_key_var="RVPO_NO_KEY")
"""The endpoint that no request is sent to: `PolicyClient` answers them."""


class Exchange:
    """Turns that an episode of verifiers asks for, and what the policy says.

    Args:
        seconds: time that a call of a tool may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        """Requests in the form of OpenAI's API."""
        self.traces: list[Any] = []
        self.scores: dict[str, RewardScore] = {}
        self.weights: dict[str, float] = {}
        self.late = ""
        """The call that did not return in time; empty where all did."""
        self.failures: list[str] = []
        """Reasons of the calls that failed since they were last read."""
        self._said: asyncio.Future[str] | None = None

    @property
    def is_waiting(self) -> bool:
        """True where the episode waits for the policy."""
        return self._said is not None and not self._said.done()

    async def ask(self, body: dict[str, Any]) -> str:
        """The next turn of the policy."""
        self._said = asyncio.get_running_loop().create_future()
        self.asked.put_nowait(body)
        return await self._said

    def say(self, text: str) -> None:
        """Answer the request that waits."""
        if self._said is not None and not self._said.done():
            self._said.set_result(text)

    def stop(self) -> None:
        """Refuse it: the episode ends as one that has used up its turns, and is scored."""
        if self._said is not None and self.is_waiting:
            self.traces[-1].stop("max_turns")
            self._said.set_exception(vf.ProviderError("the policy has no turn left"))


class PolicyClient(vf.Client):
    """A model that is the policy of an episode."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._numbers = itertools.count()

    async def get_response(
        self, dialect: Any, body: dict[str, Any], sampling: Any, *rest: Any, **named: Any
    ) -> vf.Response:
        """A turn of the policy, its calls of tools apart from what else it said."""
        text = await self._exchange.ask(body)
        calls = [call for call in tool_calls(text, body.get("tools") or ()) if not call.problem]
        said = text.partition("<tool_call>")[0].strip() if calls else text
        message = vf.AssistantMessage(
            content=said,
            tool_calls=[
                vf.ToolCall(
                    id=f"call_{next(self._numbers)}",
                    name=call.name,
                    arguments=json.dumps(dict(call.arguments)),
                )
                for call in calls
            ]
            or None,
        )
        ends = "tool_calls" if calls else "stop"
        choice = {"index": 0, "message": message_to_wire(message), "finish_reason": ends}
        made = {"id": f"turn-{next(self._numbers)}", "created": int(time.time()), "model": _MODEL}
        raw = {**made, "object": "chat.completion", "choices": [choice]}
        return vf.Response(**made, message=message, finish_reason=ends, raw=raw)


class Interception(InterceptionServer):
    """The server that rollouts ask for turns, on loopback.

    Attributes:
        exchanges: those of the episodes under way, by the trace of each.
    """

    def __init__(self, state_secrets: tuple[str, ...]) -> None:
        super().__init__(state_service_secrets=state_secrets)
        self.exchanges: dict[str, Exchange] = {}

    @asynccontextmanager
    async def acquire(self, session: Any) -> AsyncIterator[Any]:
        """Take a rollout in, whose model is its episode's policy."""
        async with super().acquire(session) as slot:
            session.client = PolicyClient(self.exchanges[session.trace.id])
            yield slot


class PolicyAgent(vf.Agent):
    """The agent of one episode.

    Args:
        config: settings that the environment has for its agent.
        shared: servers of tools that all tasks of the environment have.
        of_shared: the class of tasks that have them.
    """

    def __init__(
        self,
        config: vf.AgentConfig,
        interception: Interception,
        exchange: Exchange,
        shared: Mapping[str, Any],
        of_shared: type[vf.Task],
    ) -> None:
        harness = vf.HarnessConfig(id="bash")  # any that is there; the one below takes its place
        config = config.model_copy(update={"model": _MODEL, "client": _NOWHERE, "harness": harness})
        super().__init__(config, interception=interception)
        self.harness = PolicyHarness(exchange)
        self._exchange = exchange
        self._shared = shared
        self._of_shared = of_shared

    async def run(self, task: vf.Task, **others: Any) -> vf.Trace:
        """See `verifiers.v1.Agent.run`."""
        return await super().run(self._deferred(task), **self._watched(task, others))

    @asynccontextmanager
    async def interaction(self, task: vf.Task, **others: Any) -> AsyncIterator[vf.Interaction]:
        """See `verifiers.v1.Agent.interaction`."""
        others = self._watched(task, others)
        async with super().interaction(self._deferred(task), **others) as interaction:
            yield interaction

    def _deferred(self, task: vf.Task) -> vf.Task:
        """The task as one that its rollout does not score: the harness does, each part alone."""
        self.harness.task = task
        return task.defer_scoring()

    def _watched(self, task: vf.Task, others: dict[str, Any]) -> dict[str, Any]:
        def minted(trace: vf.Trace) -> None:
            self.interception.exchanges[trace.id] = self._exchange
            self._exchange.traces.append(trace)

        if others.get("tools") is None and isinstance(task, self._of_shared):
            others["tools"] = self._shared
        return {**others, "on_trace": minted}


class PolicyHarness(vf.Harness):
    """A loop of turns and calls, in this process, for one episode."""

    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_MCP = True
    SUPPORTS_RESUME = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    task: vf.Task

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(vf.HarnessConfig(id="rvpo"))
        self._exchange = exchange

    async def launch(
        self,
        ctx: Any,
        trace: vf.Trace,
        runtime: Any,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
        **others: Any,
    ) -> vf.ProgramResult:
        """Turns until one calls no tool, or the task wants no further one."""
        system, prompt = self.resolve_prompt(data)
        messages = [{"role": "system", "content": system}] if system else []
        if isinstance(prompt, str):
            messages.append({"role": "user", "content": prompt})
        else:
            messages += [message_to_wire(message) for message in prompt or []]
        async with AsyncExitStack() as stack:
            servers = {"mcpServers": {name: {"url": url} for name, url in mcp_urls.items()}}
            tools, places, connections = await connect_mcp(servers, stack)
            headers = {"Authorization": f"Bearer {secret}"}
            http = await stack.enter_async_context(aiohttp.ClientSession(headers=headers))
            while True:
                body = {
                    "model": _MODEL,
                    "messages": messages,
                    **({"tools": tools} if tools else {}),
                }
                async with http.post(
                    f"{endpoint}/chat/completions",
                    json=body,
                    timeout=aiohttp.ClientTimeout(total=None),
                ) as answer:
                    if answer.status != 200:
                        return _ended(trace, await answer.text())
                    said = (await answer.json())["choices"][0]["message"]
                messages.append(said)
                if not said.get("tool_calls"):
                    return _ended(trace)
                for call in said["tool_calls"]:
                    text = await self._called(call["function"], places, connections)
                    answered = {"role": "tool", "tool_call_id": call["id"], "content": text}
                    messages.append({**answered, "name": call["function"]["name"]})

    async def _called(
        self, call: Mapping[str, str], places: Mapping[str, Any], connections: Mapping[str, Any]
    ) -> Any:
        """The content that a tool returns."""
        name, exchange = call["name"], self._exchange
        if name not in places:
            exchange.failures.append("no such tool")
            return f"Error: there is no tool {name!r}; choose from {', '.join(places)}"
        server, own = places[name]
        arguments = json.loads(call["arguments"])
        try:
            async with asyncio.timeout(exchange.seconds):
                result = await connections[server].run(lambda c: c.call_tool(own, arguments))
        except TimeoutError:
            exchange.late = f"{name} did not return in {exchange.seconds:g} s"
            raise
        if result.is_error:
            exchange.failures.append(f"{name}: an error")
        return mcp_content_to_chat_content(result.content)

    async def score(self, trace: vf.Trace, runtime: Any) -> None:
        """Score the task, each of its parts alone: what one raises is that one's reason."""
        available = {"task": self.task.data, "trace": trace, "runtime": runtime}
        for kind in ("metric", "reward"):
            functions = self.task.hooks(kind)
            found = await asyncio.gather(*(_scored(each, available) for each in functions))
            for function, values in zip(functions, found, strict=True):
                weight = getattr(function, "_vf_weight", 1.0) if kind == "reward" else 0.0
                self._exchange.scores |= values
                self._exchange.weights |= dict.fromkeys(values, weight)
                for name, value in values.items():  # for environments that read them
                    if kind == "reward" and isinstance(value, float):
                        trace.record_reward(name, value, weight)
                    elif isinstance(value, float):
                        trace.record_metric(name, value)


async def _scored(function: Any, available: dict[Any, Any]) -> dict[str, RewardScore]:
    name = function.__name__
    try:
        value = await invoke(function, available)
        values = value if isinstance(value, Mapping) else {name: value}
        return {each: float(score) for each, score in values.items()}
    except Exception as error:  # code of others raises anything
        return {name: Failed(f"{name}: {type(error).__name__}: {error}")}


def _ended(trace: vf.Trace, problem: str = "") -> vf.ProgramResult:
    failed = problem and trace.stop_condition is None
    return vf.ProgramResult(exit_code=int(bool(failed)), stdout="", stderr=problem)
