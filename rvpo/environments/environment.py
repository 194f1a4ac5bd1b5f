"""The world that answers a policy, as far as a rollout knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rvpo.types import Message, Prompt


class ToolFailed(Exception):
    """A tool did not do its work, through no fault of the policy: its episode has no score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldReply:
    """Answer of a world to a turn of the policy."""

    messages: tuple[Message, ...] = ()
    """Chat turns for the policy to go on behind; with none of them the episode is over."""
    said: Message | None = None
    """The policy's turn as the world read it, such as with `tool_calls`; None where it is as it
    was."""
    is_over: bool = False
    """True where the policy is asked for no further turn, whatever the messages."""
    tools: Sequence[Mapping[str, Any]] | None = None
    """Functions that the policy has from here on, in the place of those before; None where they
    stay. Only a prompt that is written anew for each turn can show others, and no run that trains
    has one."""
    calls: int = 0
    """Calls of tools in the turn."""
    failures: tuple[str, ...] = ()
    """Reasons of those that failed, a few words each, of which the policy was told."""


class Session(Protocol):
    """The world of one episode."""

    @property
    def state(self) -> Any:
        """The object that reward functions are given of the episode."""
        ...

    async def begin(self) -> Sequence[Message] | str:
        """Messages that the world puts behind the prompt's, or text that it puts at the end of the
        last one; called once, first of all.

        Raises:
            ToolFailed: see there. Any other error says that the world is broken.
        """
        ...

    async def answer(self, message: Message) -> WorldReply:
        """Answer a turn of the policy.

        Args:
            message: its `content` is what it said without its thoughts; those are in
                `reasoning_content`, where there are any.

        Raises:
            ToolFailed: see there. Any other error says that the world is broken.
        """
        ...

    async def close(self) -> None:
        """Give up what the episode holds; called once, after whatever happened."""
        ...


class Environment(Protocol):
    """A kind of world, opened once for a run on each rank. All of it is called in one event loop
    but for `tools`."""

    @property
    def tools(self) -> Sequence[Mapping[str, Any]]:
        """Functions that every prompt shows the policy, each as OpenAI's API describes one."""
        ...

    def session(self, prompt: Prompt, seed: int) -> Session:
        """A world for one episode; nothing has happened in it.

        Args:
            seed: decides whatever is random in it.
        """
        ...

    async def close(self) -> None:
        """End what it has running. Calling it twice does no harm."""
        ...
